"""Rotary position embeddings (RoPE) on interleaved pairs, for both transformers.

Source: kyutai-labs/moshi@e6a55d2 moshi/modules/rope.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log

import numpy as np

from tympan.arrays import Float32


@dataclass(frozen=True)
class Rotation:
    """cos and sin of the angles of T positions, each float32 (T, D / 2)."""

    cos: Float32
    sin: Float32

    @classmethod
    def at(cls, position: int, n_positions: int, head_width: int, max_period: float) -> Rotation:
        """The rotation of positions `position` to `position + n_positions - 1`, counted from the start of the stream.

        Computed at each step rather than looked up, so that a stream has no maximum length. The angle is a float32
        product, as in the official code.
        """
        positions = np.arange(position, position + n_positions).astype(np.float32)
        angle = positions[:, None] * _frequencies(head_width, max_period)
        return cls(np.cos(angle), np.sin(angle))

    def apply(self, x: Float32) -> Float32:
        """Rotate x (T, H, D): float32, same shape."""
        real, imaginary = x[..., 0::2], x[..., 1::2]
        cos, sin = self.cos[:, None], self.sin[:, None]
        rotated = np.empty_like(x)
        rotated[..., 0::2] = real * cos - imaginary * sin
        rotated[..., 1::2] = real * sin + imaginary * cos
        return rotated


@cache
def _frequencies(head_width: int, max_period: float) -> Float32:
    """The angle per position of each pair: float32 (D / 2,)."""
    pairs = np.arange(head_width // 2, dtype=np.float32)
    return np.exp(pairs * np.float32(-log(max_period) * 2 / head_width))
