"""Batches on the GPU, and the clips that evaluation uses."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import shards
from .augment import render
from .bank import Bank
from .config import FRAME, SAMPLE_RATE
from .plan import Plan, PlannerPool


@dataclass
class Batch:
    """wave (B, L) float32, clean; tokens (B, S + 1) int64, the text stream; characters (B, n) int64, the CTC targets;
    lengths (B,) int64 of them, on the CPU; silent (B,) bool, clips without speech."""

    wave: Tensor
    tokens: Tensor
    characters: Tensor
    lengths: Tensor
    silent: Tensor


class BatchSource:
    """Yields batches of `size` clips of the bank's audio, planned by `processes` processes."""

    def __init__(
        self, bank: Bank, size: int, seconds: float, delay: int, processes: int, seed: int, corpus: Path | None
    ):  # fmt: skip
        self.bank, self.length = bank, int(seconds * SAMPLE_RATE) // FRAME * FRAME
        self.pool = PlannerPool(processes, seed, size, seconds, delay, corpus)
        bank.listeners.append(self.pool.update)

    def to_device(self, plan: Plan) -> Batch:
        """Copy the plan from pinned memory, without waiting for the GPU, and render its audio."""
        device = self.bank.device

        def copy(array: object) -> Tensor:
            tensor = torch.as_tensor(array)
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

        with torch.no_grad():
            wave = render(
                self.bank.audio, self.length, copy(plan.begin), copy(plan.source), copy(plan.samples),
                copy(plan.speed), copy(plan.gain),
            )  # fmt: skip
        return Batch(wave, copy(plan.tokens), copy(plan.characters), torch.as_tensor(plan.lengths), copy(plan.silent))

    def next(self) -> Batch:
        return self.to_device(self.pool.next())


def clips(utterances: list[shards.Utterance], lead: float = 0.3, tail: float = 1.0) -> tuple[Tensor, list[int]]:
    """Return single utterances for evaluation: (n, L) float32, one per row, and the number of frames of each."""
    lengths = [math.ceil((lead + tail + len(u.pcm) / SAMPLE_RATE) * SAMPLE_RATE / FRAME) for u in utterances]
    wave = torch.zeros(len(utterances), max(lengths) * FRAME)
    for row, u in enumerate(utterances):
        begin = int(lead * SAMPLE_RATE)
        wave[row, begin : begin + len(u.pcm)] = torch.from_numpy(u.pcm.copy()).float() / 32768
    return wave, lengths
