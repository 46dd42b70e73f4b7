"""The transformer as the page has it while it still learns: its matrices rounded to Q4.

A step goes forward and back through rounded weights, and moves the exact ones (a straight-through estimate). So they
settle where rounding does little harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_BLOCK = 32  # weights that share a scale, along a row


def rounded(weight: Tensor) -> Tensor:
    """(n, k) -> (n, k), every block of 32 a multiple, -8 to 7, of its element of largest magnitude over -8."""
    n, k = weight.shape
    blocks = F.pad(weight, (0, -k % _BLOCK)).view(n, -1, _BLOCK)
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).half().to(weight.dtype)
    steps = torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-8, 7)
    return (steps * scale).view(n, -1)[:, :k]


@contextmanager
def rounded_weights(module: nn.Module) -> Iterator[None]:
    """Let every exported matrix of `module` be its rounded self for a while."""
    matrices = [p for name, p in module.named_parameters() if p.dim() == 2 and not name.startswith("train_")]
    exact = [p.data for p in matrices]
    for p in matrices:
        p.data = rounded(p.data)
    try:
        yield
    finally:
        for p, data in zip(matrices, exact, strict=True):
            p.data = data
