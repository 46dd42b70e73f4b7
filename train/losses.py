"""Losses of both networks."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .config import MEL_BANDS, PAD_TOKEN, SAMPLE_RATE


class LogMel:
    """Log-mel at 100 Hz, normalized per clip: the target of Mimi's second head."""

    def __init__(self, device: torch.device):
        freq = torch.linspace(0, SAMPLE_RATE / 2, 513)
        mel = 2595 * torch.log10(1 + freq / 700)
        edges = torch.linspace(float(mel[3]), 2595 * math.log10(1 + 8000 / 700), MEL_BANDS + 2)
        rise = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
        self.filters = torch.minimum(rise, fall).clamp(min=0).to(device)
        self.window = torch.hann_window(1024, device=device)

    def __call__(self, wave: Tensor) -> Tensor:
        """Compute (B, L) -> (B, L / 240, bands)."""
        spectrum = torch.stft(wave, 1024, 240, window=self.window, return_complex=True).abs()
        mel = torch.log(spectrum[:, :, : wave.shape[1] // 240].transpose(1, 2) @ self.filters + 1e-4)
        return (mel - mel.mean((1, 2), keepdim=True)) / 3


def ctc_loss(log_probs: Tensor, characters: Tensor, lengths: Tensor) -> Tensor:
    """Compute the mean CTC loss per character.

    Args:
        log_probs: (B, n, classes) float32.
        characters: (B, width) int64.
        lengths: (B,) int64 on the CPU: lengths on the GPU would make every step wait for it.
    """
    n = torch.full_like(lengths, log_probs.shape[1])
    total = F.ctc_loss(log_probs.transpose(0, 1), characters, n, lengths, reduction="sum", zero_infinity=True)
    return total / max(1, int(lengths.sum()))


def text_loss(logits: Tensor, target: Tensor, weights: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Compute the cross entropy of the text stream, and the share of correct tokens among those of words.

    Args:
        logits: (B, S, text_card).
        target: (B, S) int64.
        weights: (text_card,), of the classes.
        smoothing: label smoothing.
    """
    flat, target = logits.float().flatten(0, 1), target.flatten()
    loss = F.cross_entropy(flat, target, weight=weights, label_smoothing=smoothing)
    spoken = target != PAD_TOKEN
    hits = ((flat.argmax(-1) == target) & spoken).sum() / spoken.sum().clamp(min=1)
    return loss, hits.detach()
