"""Q4: blocks of 32 weights, one half-float scale each. The one definition of the layout.

    value[j] = scale * (nibble[j] - 8)        nibble 0 .. 15
    byte j of a block holds element j in its low and element j + 16 in its high nibble, j < 16

The scale of a block is m / -8 where m is the element of largest magnitude, sign kept, so m itself
is stored exactly (nibble 0) up to the rounding of the scale. GGUF's Q4_0 is this very rule with scale
and nibbles interleaved: 2 + 16 bytes a block. Source: ggml-org/ggml src/ggml-quants.c, Q4_0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel

BLOCK = 32
GGUF_BLOCK_BYTES = 18


@dataclass(frozen=True)
class Q4Matrix:
    """A matrix (n, k) of Q4 blocks along k; where k is no multiple of 32 the last block ends in zeros.

    q4: uint8 (n, ceil(k / 32), 16). scale: float16 (n, ceil(k / 32)). Raises BadModel on any other shape.
    """

    q4: NDArray[np.uint8]
    scale: NDArray[np.float16]
    k: int

    def __post_init__(self) -> None:
        n_blocks = -(-self.k // BLOCK)
        if self.q4.ndim != 3 or self.q4.shape[1:] != (n_blocks, BLOCK // 2) or self.q4.dtype != np.uint8:
            raise BadModel(f"Q4 blocks of shape {self.q4.shape} {self.q4.dtype} do not hold rows of {self.k}")
        if self.scale.shape != self.q4.shape[:2] or self.scale.dtype != np.float16:
            raise BadModel(f"Q4 scales of shape {self.scale.shape} {self.scale.dtype} do not fit {self.q4.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        return self.q4.shape[0], self.k

    def rows(self, index: slice | NDArray[np.integer] | int) -> NDArray[np.float32]:
        """The rows `index`, in float32: (..., k)."""
        q4, scale = self.q4[index], self.scale[index].astype(np.float32)
        nibbles = np.concatenate([q4 & 15, q4 >> 4], axis=-1).astype(np.float32) - 8
        values = nibbles * scale[..., None]
        return values.reshape(*values.shape[:-2], -1)[..., : self.k]

    def dequantize(self) -> NDArray[np.float32]:
        """The whole matrix in float32: (n, k)."""
        return np.ascontiguousarray(self.rows(slice(None)))
