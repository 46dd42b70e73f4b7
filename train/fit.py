"""Train both networks on one schedule, on every GPU of the machine.

    python -m train.fit DATA ASSETS TESTS WORK --minutes 16

The schedule is a share of `--minutes` of training time, summed over all runs that share WORK/checkpoint:

| from | what learns |
| --- | --- |
| 0.00 | Mimi, from character CTC, log-mel and Whisper's features, nothing quantized |
| `--quantize-at` | the same through the quantizer (straight-through gradient, moving-average codebooks) |
| `--lm-at` | Mimi and the LM together: the LM reads projected quantized vectors, so its loss reaches the encoder |
| `--freeze-at` | the LM alone: Mimi is rounded to 8 bits and stays, the projections become the official tables |
| `--round-at` | the same with its matrices rounded to 4 bits in every step |

Every batch is drawn and distorted anew and is encoded on the fly: the LM never sees the same codes twice.

DATA/kept holds the shards that every GPU reads (people and slow synthesizers), DATA/streamN what fast synthesizers
make for GPU N.
"""

import argparse
import json
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from .bank import Bank
from .data import Batch, BatchSource
from .evaluate import evaluate, load_tests
from .parallel import Ranks, spawn
from .tokens import Pieces
from .trainer import Trainer

_AHEAD = 3  # steps that may be queued on the GPU


class Log:
    """WORK/log.jsonl and the standard output, of the first rank."""

    def __init__(self, path: Path, trainer: Trainer):
        self.path, self.trainer = path, trainer

    def __call__(self, **what: Any) -> None:
        if not self.trainer.ranks.first:
            return
        line = json.dumps({"share": round(self.trainer.share, 4), "step": self.trainer.step, **what})
        with self.path.open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)


class Profile:
    """Prints the GPU time of each kernel over five steps, once per stage of the schedule."""

    def __init__(self, trainer: Trainer):
        a = trainer.a
        self.trainer, self.due = trainer, [a.quantize_at, a.lm_at, a.freeze_at, a.round_at]
        self.running: Any = None
        self.steps = 0

    def before_step(self) -> None:
        """Start or stop the profiler shortly after a stage has begun."""
        if self.running is not None:
            self.steps += 1
            if self.steps == 5:
                self.running.stop()
                table = self.running.key_averages().table(sort_by="self_device_time_total", row_limit=28)
                print("\n".join(line[:60] + line[-90:] for line in table.splitlines()), flush=True)
                self.running = None
        elif self.due and self.trainer.share >= self.due[0] + 0.03:
            self.due.pop(0)
            self.steps, self.running = 0, torch.profiler.profile()
            self.running.start()


def wait_for_speech(bank: Bank, hours: float, people_hours: float) -> None:
    """Until the bank holds so much."""
    while True:
        held = bank.hours()
        people = sum(h for source, h in held.items() if source.startswith("human"))
        if people >= people_hours and sum(held.values()) >= hours:
            return
        time.sleep(0.5)


def test(trainer: Trainer, pieces: Pieces, tests: dict, limit: int) -> dict[str, float]:
    """Word error on some of the clips of every test set."""
    lm = trainer.lm if trainer.share > trainer.a.lm_at + 0.05 else None
    if lm is not None and not trainer.frozen:
        lm.freeze_audio(trainer.mimi)
    with torch.compiler.set_stance("force_eager"):
        report = evaluate(trainer.mimi, lm, pieces, tests, trainer.device, limit)
    return {k: v["wer"] for k, v in report.items()}


def train(rank: int, world: int, a: argparse.Namespace) -> None:
    """One rank's whole run; prints the error that ends it."""
    try:
        run(Ranks(rank, world), a)
    except BaseException:
        traceback.print_exc()
        raise


def run(ranks: Ranks, a: argparse.Namespace) -> None:
    """Set up, wait for speech, train, save."""
    torch.backends.cuda.matmul.allow_tf32 = False  # the networks run in bfloat16; the quantizer's distances are exact
    torch.set_num_threads(2)
    a.work.mkdir(parents=True, exist_ok=True)
    pieces = Pieces(a.assets / "tokenizer.model")
    tests = load_tests(a.tests) if ranks.first else {}
    trainer = Trainer(a, ranks)
    corpus = a.assets / "corpus.txt.xz"
    bank = Bank(ranks.device, a.kept_hours, a.stream_hours, pieces)
    source = BatchSource(
        bank, a.batch, a.seconds, trainer.config.delay, a.planners, ranks.rank + ranks.world * trainer.step,
        corpus if corpus.exists() else None,
    )  # fmt: skip
    bank.watch([a.data / "kept", a.data / f"stream{ranks.rank}"])
    begin = time.time()
    wait_for_speech(bank, 0.1, 0.0)
    trainer.warm_up(source.next())
    note = Log(a.work / "log.jsonl", trainer)
    note(warm_s=round(time.time() - begin, 1), bank=bank.hours())
    wait_for_speech(bank, a.start_hours, a.people_hours)
    for _ in range(a.planners * 3):  # plans of a bank that was hardly filled
        source.pool.next()
    ranks.wait()
    if a.until:
        a.minutes = ranks.agree(trainer.seconds + a.until - time.time()) / 60
    settings = {k: v for k, v in vars(a).items() if not isinstance(v, Path)}
    note(
        bank=bank.hours(),
        device=str(ranks.device),
        ranks=ranks.world,
        settings=settings,
        config=trainer.config.as_dict(),
    )
    loop(a, trainer, source, pieces, tests, note)
    if ranks.first:
        trainer.save()
        (a.work / "done").touch()
    ranks.wait()


def loop(a: argparse.Namespace, trainer: Trainer, source: BatchSource, pieces: Pieces, tests: dict, note: Log) -> None:
    """Steps until the schedule ends, with logs, tests and checkpoints by the first rank."""
    ranks = trainer.ranks
    begin, before = time.time(), trainer.seconds
    saved = tested = logged = begin
    sums: dict[str, list[torch.Tensor]] = {}
    queued: list[torch.cuda.Event] = []
    waited = 0.0
    profile = Profile(trainer) if a.profile and ranks.first else None
    while trainer.share < 1:
        if profile is not None:
            profile.before_step()
        asked = time.time()
        batch: Batch = source.next()
        waited += time.time() - asked
        for name, value in trainer.train_step(batch).items():
            sums.setdefault(name, []).append(value)
        if ranks.device.type == "cuda":
            queued.append(torch.cuda.Event())
            queued[-1].record()
            if len(queued) > _AHEAD:
                queued.pop(0).synchronize()
        if trainer.step % a.log_every == 0:
            means = {k: round(float(torch.stack(v).mean()), 4) for k, v in sums.items()}  # waits for the GPU
            now = time.time()
            per_step = (now - logged) / a.log_every
            heard = a.batch * ranks.world * a.seconds / 60 / per_step  # hours per minute
            note(
                ms=round(1000 * per_step, 1),
                waited_ms=round(1000 * waited / a.log_every, 1),
                hours_per_minute=round(heard, 1),
                **means,
            )
            sums, logged, waited = {}, now, 0.0
        now = time.time()
        trainer.seconds = ranks.agree(before + now - begin)
        if ranks.first and now - saved > 60:
            trainer.save()
            saved = now
        if ranks.first and now - tested > a.test_every:
            note(bank=source.bank.hours(), wer=test(trainer, pieces, tests, a.quick_tests))
            tested = logged = time.time()


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("data", "assets", "tests", "work"):
        cli.add_argument(name, type=Path)
    cli.add_argument("--minutes", type=float, default=16, help="of training time, over all runs")
    cli.add_argument("--until", type=float, help="instead of --minutes: end at this Unix time")
    cli.add_argument("--start", type=Path, help="a checkpoint whose Mimi is continued")
    cli.add_argument("--keep-lm", action="store_true", help="continue the LM of --start too")
    cli.add_argument("--mimi-layers", type=int, default=0, help="grow the Mimi of --start to so many layers")
    cli.add_argument("--drop-lm-layers", type=int, nargs="*", default=[], help="layers that the LM of --start loses")
    cli.add_argument("--head-steps", type=int, default=0, help="steps in which only Mimi's training heads learn")
    cli.add_argument("--quantize-at", type=float, default=0.10)
    cli.add_argument("--lm-at", type=float, default=0.30)
    cli.add_argument("--freeze-at", type=float, default=0.80)
    cli.add_argument("--round-at", type=float, default=0.90)
    cli.add_argument("--batch", type=int, default=96, help="clips per GPU")
    cli.add_argument("--seconds", type=float, default=12.8, help="length of a clip")
    cli.add_argument("--planners", type=int, default=4, help="planning processes per GPU")
    cli.add_argument("--mimi-rate", type=float, default=1e-3)
    cli.add_argument("--lm-rate", type=float, default=1.3e-3)
    cli.add_argument("--dropout", type=float, default=0.15)
    cli.add_argument("--pad-weight", type=float, default=0.4)
    cli.add_argument("--smoothing", type=float, default=0.05)
    cli.add_argument("--own-share", type=float, default=0.2, help="of the tokens that the LM reads of its own")
    cli.add_argument("--kept-hours", type=float, default=160, help="room for people and slow synthesizers")
    cli.add_argument("--stream-hours", type=float, default=90, help="room for fast synthesizers")
    cli.add_argument("--start-hours", type=float, default=5, help="wait for this much speech")
    cli.add_argument("--people-hours", type=float, default=0, help="wait for this much speech of people")
    cli.add_argument("--compile", action="store_true")
    cli.add_argument("--profile", action="store_true", help="print the time of each kernel, once per stage")
    cli.add_argument("--tiny", action="store_true")
    cli.add_argument("--log-every", type=int, default=100)
    cli.add_argument("--quick-tests", type=int, default=32)
    cli.add_argument("--test-every", type=float, default=200, help="seconds")
    spawn(train, cli.parse_args())


if __name__ == "__main__":
    main()
