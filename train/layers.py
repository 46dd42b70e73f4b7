"""Attention, RoPE and masks of both transformers. Shapes: B batch, n positions, d width, D width of a head."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def rope(x: Tensor, max_period: float) -> Tensor:
    """Rotate interleaved pairs of (B, heads, n, D) by position; angles in float32."""
    positions, depth = x.shape[2], x.shape[3]
    rates = torch.exp(torch.arange(depth // 2, device=x.device) * (-2 * math.log(max_period) / depth))
    angles = torch.arange(positions, device=x.device)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    real, imag = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([real * cos - imag * sin, real * sin + imag * cos], -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, max_period: float):
        super().__init__()
        self.heads, self.max_period = heads, max_period
        self.in_proj_weight = nn.Parameter(torch.randn(3 * dim, dim) * dim**-0.5)
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = rope(qkv[0], self.max_period), rope(qkv[1], self.max_period), qkv[2]
        y = F.scaled_dot_product_attention(q, k, v, mask)
        return self.out_proj(y.transpose(1, 2).flatten(-2))


class Transformer(nn.Module):
    """Layers under one mask: key j is visible to query p iff max(p, end) - context < j <= p, where `end` is the last
    position that arrives together with p (`stride` positions arrive at a time). It is the mask of the official
    streaming KV cache."""

    def __init__(self, layers: list[nn.Module], context: int, stride: int):
        super().__init__()
        self.layers, self.context, self.stride = nn.ModuleList(layers), context, stride

    def mask(self, n: int, device: torch.device) -> Tensor:
        p = torch.arange(n, device=device)
        end = p // self.stride * self.stride + self.stride - 1
        return (p[None] <= p[:, None]) & (p[None] > end[:, None] - self.context)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(x.shape[1], x.device)
        for layer in self.layers:
            x = layer(x, mask)
        return x


def holder(**children: nn.Module) -> nn.Module:
    """Create a module that gives its children their official names in the state dict."""
    module = nn.Module()
    for name, child in children.items():
        setattr(module, name, child)
    return module
