"""Both networks, their optimizers, and the schedule."""

import argparse
import math
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from . import checkpoint
from .augment import Augment
from .config import FRAME, PAD_TOKEN, SAMPLE_RATE, TINY, Config
from .data import Batch
from .lm import Lm
from .losses import LogMel, ctc_loss, text_loss
from .mimi import Encoded, Mimi
from .muon import Muon
from .parallel import Ranks, flatten_gradients
from .resize import grow_mimi, shrink_lm
from .rounding import round_mimi, rounded_weights, unround_mimi
from .teacher import Teacher

WARM_STEPS = 300
_REVIVE_EVERY = 10  # steps


def learning_rate(peak: float, share: float, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 per cent of `peak` at `share` 1."""
    return (
        peak
        * min(1.0, (step + 1) / WARM_STEPS)
        * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share)))))
    )


class Stepper:
    """A network's optimizers: Muon for the matrices of its transformer, AdamW for everything else.

    Decay for matrices and filters only, gradients in one vector, clipped to norm 1.
    """

    def __init__(self, module: nn.Module, peak: float, decay: float, ranks: Ranks):
        parameters = list(module.named_parameters())
        matrices = [(n, p) for n, p in parameters if "transformer.layers" in n and p.dim() == 2]
        self.muon = Muon(matrices, decay)
        chosen = {n for n, _ in matrices}
        named = [(p, p.dim() < 2 or "emb" in n or "alpha" in n) for n, p in parameters if n not in chosen]
        groups = [
            {"params": [p for p, plain in named if not plain], "weight_decay": decay},
            {"params": [p for p, plain in named if plain], "weight_decay": 0.0},
        ]
        cuda = named[0][0].is_cuda
        self.optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=cuda)
        self.gradients, self.peak, self.ranks, self.steps = flatten_gradients(module), peak, ranks, 0

    def step(self, progress: float) -> None:
        """Average the gradients over the ranks and move; `progress` 0 to 1 is the place in the rate's cosine."""
        self.ranks.average_(self.gradients)
        rate = learning_rate(self.peak, progress, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.gradients.mul_((1 / (self.gradients.norm() + 1e-6)).clamp(max=1))
        self.optimizer.step()
        self.muon.step(rate)
        self.gradients.zero_()
        self.steps += 1

    def rehearse(self) -> None:
        """A step that moves nothing and leaves no trace."""
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.optimizer.step()
        self.muon.step(0.0)
        self.optimizer.state.clear()
        self.muon.momentum.clear()
        self.gradients.zero_()


class Trainer:
    """One rank's copy of the networks.

    The schedule is a share of `a.minutes` of training time, summed over all runs that share `a.work`/checkpoint.
    """

    def __init__(self, a: argparse.Namespace, ranks: Ranks):
        self.a, self.ranks, self.device = a, ranks, ranks.device
        self.step, self.seconds, self.frozen = 0, 0.0, False
        self.config = TINY if a.tiny else Config()
        folder = a.work / "checkpoint"
        torch.manual_seed(0)  # the same weights in every rank
        if (folder / "state.json").exists():
            state, tensors = checkpoint.load_state(folder)
            self.step, self.seconds, self.frozen = state["step"], state["seconds"], state["frozen"]
            self._build(checkpoint.config_of(state))
            checkpoint.load_into(self.mimi, "mimi.", tensors)
            checkpoint.load_into(self.lm, "lm.", tensors)
        elif a.start is not None:
            state, tensors = checkpoint.load_state(a.start)
            self._build(checkpoint.config_of(state))
            checkpoint.load_into(self.mimi, "mimi.", tensors)
            if state["frozen"]:
                unround_mimi(self.mimi)
            if a.keep_lm:
                checkpoint.load_into(self.lm, "lm.", tensors)
                self.lm.thaw_audio(self.mimi)
            grow_mimi(self.mimi, a.mimi_layers)
            shrink_lm(self.lm, a.drop_lm_layers)
            self.config = replace(self.config, mimi_layers=self.mimi.c.mimi_layers, lm_layers=self.lm.c.lm_layers)
        else:
            self._build(self.config)
        self.books_started = bool(self.mimi.books[0]._initialized)
        torch.manual_seed(1000 * ranks.rank + self.step + 1)
        self.mimi.to(self.device).train(not self.frozen)
        self.lm.to(self.device).train()
        length = int(a.seconds * SAMPLE_RATE) // FRAME * FRAME
        self.augment = Augment(length, self.device)
        self.log_mel = LogMel(self.device)
        weights = a.assets / "teacher.npz"
        self.teacher = Teacher(weights).to(self.device).eval() if weights.exists() and not self.frozen else None
        if a.compile:
            self._compile()
        self.mimi_stepper = Stepper(self.mimi, a.mimi_rate, 0.02, ranks)
        self.lm_stepper = Stepper(self.lm, a.lm_rate, 0.05, ranks)
        self.weights = torch.ones(self.config.text_card, device=self.device)
        self.weights[PAD_TOKEN] = a.pad_weight

    def _build(self, config: Config) -> None:
        self.config = config
        self.mimi, self.lm = Mimi(config), Lm(config, self.a.dropout)

    def _compile(self) -> None:
        """Compile the encoder and one graph for all layers of a kind.

        Large batches leave little to gain elsewhere, and every further region takes ten seconds to compile.
        """
        torch._dynamo.config.suppress_errors = True
        torch._dynamo.config.recompile_limit = 64
        blocks = [*self.mimi.encoder_transformer.transformer.layers, *self.lm.transformer.layers]
        for module in (self.mimi.encoder, *blocks):
            module.compile(dynamic=False)

    @property
    def share(self) -> float:
        return self.seconds / (60 * self.a.minutes)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def state(self) -> dict:
        return {
            "config": self.config.as_dict(), "step": self.step, "seconds": self.seconds, "share": self.share,
            "frozen": self.frozen, "lm_started": self.share > self.a.lm_at,
        }  # fmt: skip

    def save(self) -> None:
        checkpoint.save(self.a.work / "checkpoint", self.mimi, self.lm, self.state())

    def warm_up(self, batch: Batch) -> None:
        """Run every kind of step once without moving anything, so that compiling happens before the clock starts."""
        a = self.a
        kept, started = {n: b.clone() for n, b in self.mimi.named_buffers()}, self.books_started
        stages = [s for s in (0.0, a.quantize_at, a.lm_at, a.round_at) if self.share <= s or s == a.round_at]
        for share in stages:
            if share >= a.round_at:
                self.mimi.eval()
            for own_share in (0.0, a.own_share):
                with rounded_weights(self.lm) if share >= a.round_at else nullcontext():
                    losses = self._losses(batch, share, share >= a.round_at, own_share, heads_only=False)
                    sum(v for k, v in losses.items() if k != "accuracy").backward()
        self.mimi_stepper.rehearse()
        self.lm_stepper.rehearse()
        for name, buffer in self.mimi.named_buffers():
            buffer.copy_(kept[name])
        self.books_started = started
        self.mimi.train(not self.frozen)

    def train_step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Forward, backward and update; returns the losses, still on the GPU."""
        a, share = self.a, self.share
        if share >= a.freeze_at and not self.frozen:
            round_mimi(self.mimi)
            self.mimi.eval()
            self.lm.freeze_audio(self.mimi)
            self.frozen = True
        ramp = min(1.0, max(0.0, (share - a.lm_at) / (a.freeze_at - a.lm_at) - 0.3))
        own_share = 2 * a.own_share * ramp if self.step % 2 else 0.0  # one more pass of the LM, so every second step
        heads_only = self.step < a.head_steps
        if self.step == a.head_steps and not self.frozen:
            self.mimi_stepper.steps = 0  # a warm-up for what stood still
        if not self.frozen:
            self.mimi.train(not heads_only)
        with rounded_weights(self.lm) if share >= a.round_at else nullcontext():
            losses = self._losses(batch, share, self.frozen, own_share, heads_only)
            sum(v for k, v in losses.items() if k != "accuracy").backward()
        if not self.frozen:
            self.mimi_stepper.step(share / a.freeze_at)
        if share >= a.lm_at:
            self.lm_stepper.step((share - a.lm_at) / (1 - a.lm_at))
        self.step += 1
        return {k: v.detach() for k, v in losses.items()}

    def _losses(
        self, batch: Batch, share: float, frozen: bool, own_share: float, heads_only: bool
    ) -> dict[str, torch.Tensor]:
        """`heads_only`: Mimi stands still while new heads learn to read it."""
        wave, losses = self.augment(batch.wave, batch.silent), {}
        if frozen:
            with torch.no_grad(), self.autocast():
                latent = self.mimi.latent(wave)
            codes = self.mimi.quantize(latent, "eval").codes
            losses["lm"], losses["accuracy"] = self._lm_loss(self._jitter(codes), batch, own_share, frozen)
            return losses
        with torch.set_grad_enabled(not heads_only):
            with self.autocast():
                latent = self.mimi.latent(wave)
            encoded = self.mimi.quantize(latent, "eval") if heads_only else self._quantize(latent, share)
        with self.autocast():
            ctc, mel, taught = self.mimi.heads(encoded)
            if self.teacher is not None:
                losses["teacher"] = F.mse_loss(taught, self.teacher(batch.wave)) * (
                    1.0 if share < self.a.lm_at else 0.5
                )
        losses["ctc"] = ctc_loss(ctc, batch.characters, batch.lengths)
        losses["mel"] = F.l1_loss(mel, self.log_mel(batch.wave)) * (0.3 if share < self.a.lm_at else 0.05)
        losses["commitment"] = 0.1 * encoded.commitment
        if share >= self.a.lm_at:
            losses["lm"], losses["accuracy"] = self._lm_loss(encoded, batch, own_share, frozen)
        return losses

    def _quantize(self, latent: torch.Tensor, share: float) -> Encoded:
        """Quantize as the schedule has it, and let the codebooks follow the batches of all ranks."""
        if share < self.a.quantize_at:
            return self.mimi.quantize(latent, "off")
        if not self.books_started:
            self.mimi.start_codebooks(latent.detach())
            self._share_codebooks()
            self.books_started = True
        encoded = self.mimi.quantize(latent, "train")
        assert encoded.statistics is not None and encoded.spares is not None
        self.ranks.average_(encoded.statistics)
        revive = self.step % _REVIVE_EVERY == 0 and share < 0.9 * self.a.freeze_at
        for book, statistics, spare in zip(self.mimi.books, encoded.statistics, encoded.spares, strict=True):
            book.follow(statistics, spare if revive else None)
        if revive:
            self._share_codebooks()
        return encoded

    def _share_codebooks(self) -> None:
        for book in self.mimi.books:
            for buffer in (book.cluster_usage, book.embedding_sum, book._initialized):
                self.ranks.copy_first_(buffer)

    def _jitter(self, codes: torch.Tensor) -> torch.Tensor:
        """Replace two per cent of the codes at random, so that no single level is trusted blindly."""
        noise = torch.randint_like(codes, self.config.codebook_size)
        return torch.where(torch.rand(codes.shape, device=codes.device) < 0.02, noise, codes)

    def _lm_loss(
        self, source: Encoded | torch.Tensor, batch: Batch, own_share: float, frozen: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with self.autocast():
            frames = self.lm.look_up(source) if isinstance(source, torch.Tensor) else self.lm.project(source)
            heard = None
            if own_share > 0:
                with torch.no_grad():
                    heard = self.lm(frames, batch.tokens).argmax(-1)
            logits = self.lm(frames, batch.tokens, heard, own_share)
        return text_loss(logits, batch.tokens, self.weights, self.a.smoothing)
