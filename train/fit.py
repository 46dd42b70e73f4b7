"""Train both networks on one clock.

    python -m train.fit DATA ASSETS TESTS WORK --minutes 21

The schedule is a share of `--minutes` of training time, summed over all runs that share WORK/checkpoint:

| from | what learns |
| --- | --- |
| 0.00 | Mimi, from character CTC, log-mel and Whisper's features, nothing quantized |
| `QUANTIZE` | the same through the quantizer (straight-through gradient, moving-average codebooks) |
| `LM` | Mimi and the LM together: the LM reads projected quantized vectors, so its loss reaches the encoder |
| `FREEZE` | the LM alone: Mimi is rounded to 8 bits and stays, the projections become the official embedding tables |
| `ROUND` | the same with its matrices rounded to 4 bits in every step (run 3 of README.md) |

Every batch is drawn and roughened anew and is encoded on the fly: the LM never sees the same codes twice.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

from . import checkpoint, data
from .config import FRAME, PAD_TOKEN, SAMPLE_RATE, TINY, Config
from .evaluate import evaluate, load_tests
from .lm import Lm
from .mimi import Mimi
from .rounding import round_mimi, rounded_weights
from .teacher import Teacher

QUANTIZE, LM, FREEZE, ROUND = 0.10, 0.20, 0.72, 0.86
WARM_STEPS = 300


def learning_rate(peak: float, share: float, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 per cent of `peak` at `share` 1."""
    return (
        peak
        * min(1.0, (step + 1) / WARM_STEPS)
        * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share)))))
    )


def optimizer(module: torch.nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW; weight decay for matrices and filters only, not for embeddings, norms, biases and scales."""
    plain = [p for n, p in module.named_parameters() if p.dim() < 2 or "emb" in n or "alpha" in n]
    decayed = [p for n, p in module.named_parameters() if not (p.dim() < 2 or "emb" in n or "alpha" in n)]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=plain[0].is_cuda)


class Trainer:
    """The two networks, their optimizers, and the clock."""

    def __init__(self, a: argparse.Namespace, device: torch.device):
        self.a, self.device = a, device
        self.step, self.seconds, self.frozen = 0, 0.0, False
        self.warm = {"mimi": 0, "lm": 0}  # steps since this run began to train each
        self.config = TINY if a.tiny else Config()
        folder = a.work / "checkpoint"
        tensors = None
        if (folder / "state.json").exists():
            state, tensors = checkpoint.load_state(folder)
            self.config = checkpoint.config_of(state)
            self.step, self.seconds, self.frozen = state["step"], state["seconds"], state["frozen"]
        torch.manual_seed(self.step)
        self.rng = random.Random(self.step)
        self.mimi, self.lm = Mimi(self.config), Lm(self.config, a.dropout)
        if tensors is not None:
            checkpoint.load_into(self.mimi, "mimi.", tensors)
            checkpoint.load_into(self.lm, "lm.", tensors)
            if a.again and state["share"] >= 1:
                self.lm.thaw_audio(self.mimi)
                self.seconds, self.frozen = LM * 60 * a.minutes, False
        self.mimi.to(device).train(not self.frozen)
        self.lm.to(device).train()
        if a.compile:  # one graph for all layers of a kind; evaluation keeps to the plain modules
            torch._dynamo.config.suppress_errors = True
            blocks = [*self.mimi.encoder_transformer.transformer.layers, *self.lm.transformer.layers]
            for module in (self.mimi.encoder, *blocks):
                module.compile(dynamic=False)
        self.mimi_optimizer = optimizer(self.mimi, a.mimi_rate, 0.02)
        self.lm_optimizer = optimizer(self.lm, a.lm_rate, 0.05)
        self.log_mel = data.LogMel(device)
        weights = a.assets / "teacher.npz"
        self.teacher = Teacher(weights).to(device).eval() if weights.exists() and not self.frozen else None
        self.weights = torch.ones(self.config.text_card, device=device)
        self.weights[PAD_TOKEN] = a.pad_weight

    def warm_up(self, size: int, seconds: float) -> None:
        """Compile, and let the allocator and the libraries settle, before the clock starts; leaves no trace."""
        frames = int(seconds * SAMPLE_RATE) // FRAME
        wave = 0.1 * torch.randn(size, frames * FRAME, device=self.device)
        audio = torch.randn(size, frames, self.config.lm_dim, device=self.device)
        tokens = torch.randint(self.config.text_card, (size, frames + 1), device=self.device)
        if not self.frozen:
            with self.autocast():
                loss = self.mimi.latent(wave).float().mean() + self.lm(audio, tokens).float().mean()
            loss.backward()
        self.mimi.eval()
        with self.autocast():
            with torch.no_grad():
                self.mimi.latent(wave)
                self.lm(audio, tokens)
            self.lm(audio, tokens).float().mean().backward()
        self.mimi.train(not self.frozen)
        self.mimi_optimizer.zero_grad(set_to_none=True)
        self.lm_optimizer.zero_grad(set_to_none=True)

    @property
    def share(self) -> float:
        return self.seconds / (60 * self.a.minutes)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def state(self) -> dict:
        return {
            "config": self.config.as_dict(), "step": self.step, "seconds": self.seconds, "share": self.share,
            "frozen": self.frozen, "lm_started": self.share > LM,
        }  # fmt: skip

    def save(self) -> None:
        checkpoint.save(self.a.work / "checkpoint", self.mimi, self.lm, self.state())

    def train_step(self, batch: data.Batch, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        share = self.share
        with rounded_weights(self.lm) if share >= ROUND else nullcontext():
            losses = self.losses(batch, clean, share)
            sum(v for k, v in losses.items() if k != "accuracy").backward()
        self.update(share)
        return losses

    def losses(self, batch: data.Batch, clean: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
        if share >= FREEZE and not self.frozen:
            round_mimi(self.mimi)
            self.mimi.eval()
            self.lm.freeze_audio(self.mimi)
            self.frozen = True
        losses = {}
        if self.frozen:
            with torch.no_grad(), self.autocast():
                latent = self.mimi.latent(batch.wave)
            codes = self.mimi.quantize(latent, "eval").codes
            losses["lm"], losses["accuracy"] = self.lm_loss(lambda: self.lm.look_up(self.jitter(codes)), batch)
        else:
            mode = "off" if share < QUANTIZE else "train"
            with self.autocast():
                latent = self.mimi.latent(batch.wave)
            revive = self.step % 10 == 0 and share < 0.9 * FREEZE
            encoded = self.mimi.quantize(latent, mode, revive)
            with self.autocast():
                ctc, mel, taught = self.mimi.heads(encoded)
            if self.teacher is not None:
                with self.autocast():
                    target = self.teacher(clean)
                losses["teacher"] = F.mse_loss(taught, target) * (1.0 if share < LM else 0.5)
            losses["ctc"] = data.ctc_loss(ctc, batch)
            losses["mel"] = F.l1_loss(mel, self.log_mel(clean)) * (0.3 if share < LM else 0.05)
            losses["commitment"] = 0.1 * encoded.commitment
            if share >= LM:
                losses["lm"], losses["accuracy"] = self.lm_loss(lambda: self.lm.project(encoded), batch)
        return losses

    def jitter(self, codes: torch.Tensor) -> torch.Tensor:
        """Replace two per cent of the codes at random, so that no single level is trusted blindly."""
        noise = torch.randint_like(codes, self.config.codebook_size)
        return torch.where(torch.rand(codes.shape, device=codes.device) < 0.02, noise, codes)

    def lm_loss(self, audio: Callable[[], torch.Tensor], batch: data.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        own_share = self.a.own_share * min(1.0, max(0.0, (self.share - LM) / (FREEZE - LM) - 0.4))
        with self.autocast():
            heard, frames = None, audio()
            if own_share > 0:
                with torch.no_grad():
                    heard = self.lm(frames, batch.tokens).argmax(-1)
            logits = self.lm(frames, batch.tokens, heard, own_share).float()
        flat, target = logits.flatten(0, 1), batch.tokens.flatten()
        loss = F.cross_entropy(flat, target, weight=self.weights, label_smoothing=self.a.smoothing)
        spoken = target != PAD_TOKEN
        hits = ((flat.argmax(-1) == target) & spoken).sum() / spoken.sum().clamp(min=1)
        return loss, hits.detach()

    def update(self, share: float) -> None:
        plan = []
        if not self.frozen:
            plan.append(("mimi", self.mimi, self.mimi_optimizer, self.a.mimi_rate, share / FREEZE))
        if share >= LM:
            plan.append(("lm", self.lm, self.lm_optimizer, self.a.lm_rate, (share - LM) / (1 - LM)))
        for name, module, stepper, peak, progress in plan:
            for group in stepper.param_groups:
                group["lr"] = learning_rate(peak, progress, self.warm[name])
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
            self.warm[name] += 1
        self.step += 1


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("data", "assets", "tests", "work"):
        cli.add_argument(name, type=Path)
    cli.add_argument("--minutes", type=float, default=21, help="of training time, over all runs")
    cli.add_argument("--again", action="store_true", help="a finished checkpoint starts over where the LM begins")
    cli.add_argument("--batch", type=int, default=64)
    cli.add_argument("--seconds", type=float, default=12.8, help="length of a clip")
    cli.add_argument("--mimi-rate", type=float, default=7e-4)
    cli.add_argument("--lm-rate", type=float, default=1e-3)
    cli.add_argument("--dropout", type=float, default=0.12)
    cli.add_argument("--pad-weight", type=float, default=0.4)
    cli.add_argument("--smoothing", type=float, default=0.04)
    cli.add_argument("--own-share", type=float, default=0.25, help="of the tokens that the LM reads of its own")
    cli.add_argument("--bank-hours", type=float, default=150)
    cli.add_argument("--start-hours", type=float, default=5, help="wait for this much speech")
    cli.add_argument("--compile", action="store_true")
    cli.add_argument("--tiny", action="store_true")
    cli.add_argument("--log-every", type=int, default=50)
    cli.add_argument("--quick-tests", type=int, default=40)
    cli.add_argument("--test-every", type=float, default=150, help="seconds")
    a = cli.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = (
        False  # the networks run in bfloat16; the quantizer's distances must be exact
    )
    a.work.mkdir(parents=True, exist_ok=True)
    pieces = data.Pieces(a.assets / "tokenizer.model")
    tests = load_tests(a.tests)
    bank = data.Bank(device, a.bank_hours, pieces)
    bank.watch(a.data)
    trainer = Trainer(a, device)
    trainer.warm_up(a.batch, a.seconds)
    while sum(bank.hours().values()) < a.start_hours:
        time.sleep(1)

    def note(**what: Any) -> None:
        line = json.dumps({"share": round(trainer.share, 4), "step": trainer.step, **what})
        with (a.work / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)

    note(bank=bank.hours(), device=str(device), config=trainer.config.as_dict())
    saved = tested = logged = time.time()
    sums: dict[str, list[torch.Tensor]] = {}
    begin, before = time.time(), trainer.seconds
    plan = random.Random(trainer.step)
    batches = data.prefetch(lambda: data.make_batch(bank, plan, a.batch, a.seconds, trainer.config.delay))
    while trainer.share < 1:
        batch = next(batches)
        clean = batch.wave
        batch.wave = data.roughen(clean, trainer.rng)
        for name, value in trainer.train_step(batch, clean).items():
            sums.setdefault(name, []).append(value.detach())
        if trainer.step % a.log_every == 0:
            means = {k: round(float(torch.stack(v).mean()), 4) for k, v in sums.items()}  # waits for the GPU
            note(ms=round((time.time() - logged) / a.log_every * 1000, 1), **means)
            sums, logged = {}, time.time()
        now = time.time()
        trainer.seconds = before + now - begin
        if now - saved > 60:
            trainer.save()
            saved = now
        if now - tested > a.test_every:
            lm = trainer.lm if trainer.share > LM + 0.05 else None
            if lm is not None and not trainer.frozen:
                lm.freeze_audio(trainer.mimi)
            with torch.compiler.set_stance("force_eager"):
                report = evaluate(trainer.mimi, lm, pieces, tests, device, a.quick_tests)
            note(bank=bank.hours(), wer={k: v["wer"] for k, v in report.items()})
            tested = logged = time.time()
            sums = {}
    trainer.save()
    with torch.compiler.set_stance("force_eager"):
        report = evaluate(trainer.mimi, trainer.lm, pieces, tests, device)
    (a.work / "metrics.json").write_text(json.dumps(report, indent=1))
    note(final={k: (v["wer"], v["starts_within_160ms"]) for k, v in report.items()})
    (a.work / "done").touch()


if __name__ == "__main__":
    main()
