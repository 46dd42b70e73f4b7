"""Layers more or fewer than a checkpoint has."""

from dataclasses import replace

import torch
from torch import nn

from .lm import Lm
from .mimi import Mimi, MimiLayer


@torch.no_grad()
def grow_mimi(mimi: Mimi, n_layers: int) -> None:
    """Append layers to Mimi's transformer that change nothing at first: their outputs are zero."""
    layers = mimi.encoder_transformer.transformer.layers
    mimi.c = replace(mimi.c, mimi_layers=max(n_layers, len(layers)))
    while len(layers) < n_layers:
        layer = MimiLayer(mimi.c)
        nn.init.zeros_(layer.self_attn.out_proj.weight)
        nn.init.zeros_(layer.linear2.weight)
        layers.append(layer)


def shrink_lm(lm: Lm, dropped: list[int]) -> None:
    """Remove layers of the LM, by index. The others have to learn to do without."""
    kept = [layer for index, layer in enumerate(lm.transformer.layers) if index not in dropped]
    lm.transformer.layers = nn.ModuleList(kept)
    lm.c = replace(lm.c, lm_layers=len(kept))
