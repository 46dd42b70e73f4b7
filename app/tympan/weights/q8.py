"""Q8: blocks of 32 weights in 8 bits. The one definition of the layout.

    value[j] = scale * q8[j]        q8 -127 .. 127, in the order of the elements

The scale of a block is its largest magnitude / 127. GGUF's Q8_0 has the same layout and the same scales.
Source: ggml-org/ggml src/ggml-quants.c, Q8_0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BLOCK, BlockMatrix, StoredBlocks, in_blocks

LARGEST = 127


class Q8Matrix(BlockMatrix):
    """A matrix of Q8 blocks: int8 (n, ceil(k / 32), 32)."""

    format = "q8"
    dtype = np.int8
    block_bytes = BLOCK

    @staticmethod
    def integers(blocks: NDArray[np.int8]) -> Float32:
        return blocks.astype(np.float32)


class StoredQ8Matrix(StoredBlocks, Q8Matrix):
    """A matrix of Q8 blocks in a file."""


def quantize(matrix: Float32) -> Q8Matrix:
    """Round a matrix to Q8, block by block along its rows.

    matrix: float32 (n, k); where k is no multiple of 32 the last block is filled with zeros.
    Returns the same matrix, each value within half a scale of what it was, or within 2^-18 where that is more.
    Raises BadModel when a value is not finite, or so large that its scale has no float16.
    """
    blocks = in_blocks(matrix)
    with np.errstate(over="ignore", invalid="ignore"):  # Q8Matrix refuses what is not finite
        scale = (np.abs(blocks).max(axis=-1) / np.float32(LARGEST)).astype(np.float16)
        exact = scale.astype(np.float32)[..., None]
        steps = np.divide(blocks, exact, out=np.zeros_like(blocks), where=np.isfinite(exact) & (exact != 0))
        q8 = np.clip(np.rint(steps), -LARGEST, LARGEST).astype(np.int8)
    return Q8Matrix(q8, scale, matrix.shape[1])
