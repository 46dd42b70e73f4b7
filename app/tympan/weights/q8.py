"""Q8: blocks of 32 weights with 8 bits each. Defines the layout.

    value[j] = scale * q8[j]        q8 -127 .. 127, in the order of the elements

The scale of a block is its largest magnitude / 127. GGUF's Q8_0 has the same layout and the same scales.
Source: ggml-org/ggml src/ggml-quants.c, Q8_0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BLOCK, BlockMatrix, LazyBlockMatrix, split_into_blocks

LARGEST = 127


class Q8Matrix(BlockMatrix):
    """A matrix of Q8 blocks: int8 (n, ceil(k / 32), 32)."""

    format = "q8"
    dtype = np.int8
    block_bytes = BLOCK

    @staticmethod
    def integers(blocks: NDArray[np.int8]) -> Float32:
        return blocks.astype(np.float32)


class LazyQ8Matrix(LazyBlockMatrix, Q8Matrix):
    """A matrix of Q8 blocks that is read from a file on access."""


def quantize(matrix: Float32) -> Q8Matrix:
    """Quantize a matrix to Q8, block by block along its rows.

    matrix: float32 (n, k); if k is not a multiple of 32, the last block is padded with zeros.
    Returns a matrix in which each value differs by at most half a scale or 2^-18, whichever is larger.
    Raises BadModel if a value is not finite, or so large that its scale exceeds float16.
    """
    blocks = split_into_blocks(matrix)
    with np.errstate(over="ignore", invalid="ignore"):  # Q8Matrix rejects non-finite scales
        scale = (np.abs(blocks).max(axis=-1) / np.float32(LARGEST)).astype(np.float16)
        exact = scale.astype(np.float32)[..., None]
        steps = np.divide(blocks, exact, out=np.zeros_like(blocks), where=np.isfinite(exact) & (exact != 0))
        q8 = np.clip(np.rint(steps), -LARGEST, LARGEST).astype(np.int8)
    return Q8Matrix(q8, scale, matrix.shape[1])
