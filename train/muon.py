"""Muon: an optimizer for matrices whose every step is orthogonal.

    M <- momentum of the gradients
    W <- (1 - rate * decay) W - rate * 0.2 sqrt(max(rows, columns)) U V^T        M = U S V^T

All directions of a matrix learn at one rate, so a network needs fewer steps than with Adam. The factor gives a step the
size of AdamW's at the same rate.
Sources: KellerJordan/Muon@main muon.py (iteration and coefficients); Liu et al., "Muon is Scalable for LLM Training",
arXiv 2502.16982 (the factor and the decay).
"""

import math

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


def orthogonal(x: Tensor) -> Tensor:
    """(n, rows, columns) -> nearly U V^T of each matrix U S V^T: singular values between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    y = x.transpose(1, 2) if tall else x
    y = y.bfloat16() if y.is_cuda else y
    y = y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        square = y @ y.transpose(1, 2)
        y = a * y + (b * square + c * square @ square) @ y
    return (y.transpose(1, 2) if tall else y).to(x.dtype)


class Muon:
    """Steps the matrices of `named`; those of one shape together. The rows of q, k and v count as three matrices."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], decay: float):
        self.decay = decay
        self.groups: dict[tuple[int, ...], list[tuple[nn.Parameter, int]]] = {}
        for name, p in named:
            parts = 3 if name.endswith("in_proj_weight") else 1
            shape = (p.shape[0] // parts, p.shape[1])
            self.groups.setdefault(shape, []).append((p, parts))
        self.momentum: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step down the gradients."""
        for shape, members in self.groups.items():
            gradient = torch.stack([g for p, parts in members if p.grad is not None for g in p.grad.chunk(parts)])
            momentum = self.momentum.setdefault(shape, torch.zeros_like(gradient))
            momentum.lerp_(gradient, 1 - _MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, _MOMENTUM))
            matrices = [w for p, parts in members for w in p.data.chunk(parts)]
            torch._foreach_mul_(matrices, 1 - rate * self.decay)
            torch._foreach_add_(matrices, update.unbind(), alpha=-rate * 0.2 * math.sqrt(max(shape)))
