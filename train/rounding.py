"""The transformer as the page has it while it still learns: its matrices rounded to Q4.

A step goes forward and back through rounded weights, and moves the exact ones (a straight-through estimate). So they
settle where rounding does little harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .mimi import Mimi

_BLOCK = 32  # weights that share a scale, along a row


def rounded(weight: Tensor) -> Tensor:
    """(n, k) -> (n, k), every block of 32 a multiple, -8 to 7, of its element of largest magnitude over -8."""
    n, k = weight.shape
    blocks = F.pad(weight, (0, -k % _BLOCK)).view(n, -1, _BLOCK)
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).half().to(weight.dtype)
    steps = torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-8, 7)
    return (steps * scale).view(n, -1)[:, :k]


def rounded_table(weight: Tensor) -> Tensor:
    """(n, k) -> (n, k), every block of 32 a multiple, -127 to 127, of its largest magnitude over 127."""
    n, k = weight.shape
    blocks = F.pad(weight, (0, -k % _BLOCK)).view(n, -1, _BLOCK)
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).half().to(weight.dtype)
    steps = torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-127, 127)
    return (steps * scale).view(n, -1)[:, :k]


@torch.no_grad()
def round_mimi(mimi: Mimi) -> None:
    """Let the matrices of Mimi's transformer be whole numbers from -127 to 127, for good.

    Their scales move into the norms before them (a column each) and the layer scales after them (a row each), so that
    they are stored in 8 bits without a format of their own.
    """
    for layer in mimi.encoder_transformer.transformer.layers:
        attention = layer.self_attn
        for norm, weight in ((layer.norm1, attention.in_proj_weight), (layer.norm2, layer.linear1.weight)):
            scale = weight.abs().amax(0).clamp(min=1e-8) / 127
            weight.copy_((weight / scale).round())
            norm.weight.mul_(scale)
            norm.bias.mul_(scale)
        for after, weight in (
            (layer.layer_scale_1, attention.out_proj.weight),
            (layer.layer_scale_2, layer.linear2.weight),
        ):
            scale = weight.abs().amax(1).clamp(min=1e-8) / 127
            weight.copy_((weight / scale[:, None]).round())
            after.scale.mul_(scale)


@contextmanager
def rounded_weights(module: nn.Module) -> Iterator[None]:
    """Let every exported matrix of `module` be its rounded self for a while: tables in 8 bits, the others in 4."""
    named = [(n, p) for n, p in module.named_parameters() if p.dim() == 2 and not n.startswith("train_")]
    matrices = [p for _, p in named]
    exact = [p.data for p in matrices]
    for name, p in named:
        p.data = rounded_table(p.data) if "emb" in name else rounded(p.data)
    try:
        yield
    finally:
        for p, data in zip(matrices, exact, strict=True):
            p.data = data
