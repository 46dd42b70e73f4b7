"""Quantization-aware training: the transformer's matrices rounded to Q4, Mimi's to 8 bits.

A step goes forward and back through rounded weights and updates the exact ones (a straight-through estimate), so that
they end where rounding changes little.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .mimi import LAYER_SCALE, Mimi

_BLOCK = 32  # weights that share a scale, along a row


def rounded(blocks: Tensor) -> Tensor:
    """Round (n, 32): every row to multiples, -8 to 7, of its element of largest magnitude over -8."""
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).half().to(blocks.dtype)
    return torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-8, 7) * scale


def rounded_table(blocks: Tensor) -> Tensor:
    """Round (n, 32): every row to multiples, -127 to 127, of its largest magnitude over 127."""
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).half().to(blocks.dtype)
    return torch.where(scale == 0, 0.0, blocks / scale).round().clamp(-127, 127) * scale


@torch.no_grad()
def round_mimi(mimi: Mimi) -> None:
    """Round the matrices of Mimi's transformer permanently to whole numbers from -127 to 127.

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


@torch.no_grad()
def unround_mimi(mimi: Mimi) -> None:
    """Undo `round_mimi`: move the scales back into the matrices, so that training can continue.

    The norms get weights of 1 and the layer scales their initial value. The function of the network stays the same.
    """
    for layer in mimi.encoder_transformer.transformer.layers:
        attention = layer.self_attn
        for norm, weight in ((layer.norm1, attention.in_proj_weight), (layer.norm2, layer.linear1.weight)):
            scale = torch.where(norm.weight.abs() < 1e-8, 1e-8, norm.weight)
            weight.mul_(scale)
            norm.bias.div_(scale)
            norm.weight.fill_(1)
        for after, weight in (
            (layer.layer_scale_1, attention.out_proj.weight),
            (layer.layer_scale_2, layer.linear2.weight),
        ):
            weight.mul_(after.scale[:, None] / LAYER_SCALE)
            after.scale.fill_(LAYER_SCALE)


@contextmanager
def rounded_weights(module: nn.Module) -> Iterator[None]:
    """Round every exported matrix of `module` inside the context: tables to 8 bits, the others to 4.

    All matrices of a kind are rounded at once, in blocks; their rows are whole numbers of blocks.
    """
    named = [(n, p) for n, p in module.named_parameters() if p.dim() == 2 and not n.startswith("train_")]
    exact = [p.data for _, p in named]
    for tables, function in ((True, rounded_table), (False, rounded)):
        chosen = [p for n, p in named if ("emb" in n) == tables]
        assert all(p.shape[1] % _BLOCK == 0 for p in chosen)
        flat = function(torch.cat([p.data.flatten() for p in chosen]).view(-1, _BLOCK)).flatten()
        for p, part in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
            p.data = part.view_as(p)
    try:
        yield
    finally:
        for (_, p), data in zip(named, exact, strict=True):
            p.data = data
