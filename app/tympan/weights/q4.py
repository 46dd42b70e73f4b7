"""Q4: blocks of 32 weights in 4 bits. The one definition of the layout.

    value[j] = scale * (nibble[j] - 8)        nibble 0 .. 15
    byte j of a block holds element j in its low and element j + 16 in its high nibble, j < 16

The scale of a block is m / -8 where m is the element of largest magnitude, sign kept, so m itself
is stored exactly (nibble 0) up to the rounding of the scale. GGUF's Q4_0 is this very rule.
Source: ggml-org/ggml src/ggml-quants.c, Q4_0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BLOCK, BlockMatrix, StoredBlocks, in_blocks, n_blocks_of

_CHUNK = 1 << 18  # elements quantized at a time, so that the temporaries stay in the cache


class Q4Matrix(BlockMatrix):
    """A matrix of Q4 blocks: uint8 (n, ceil(k / 32), 16)."""

    format = "q4"
    dtype = np.uint8
    block_bytes = BLOCK // 2

    @staticmethod
    def integers(blocks: NDArray[np.uint8]) -> Float32:
        return np.concatenate([blocks & 15, blocks >> 4], axis=-1).astype(np.float32) - 8


class StoredQ4Matrix(StoredBlocks, Q4Matrix):
    """A matrix of Q4 blocks in a file."""


def quantize(matrix: Float32) -> Q4Matrix:
    """Round a matrix to Q4, block by block along its rows.

    matrix: float32 (n, k); where k is no multiple of 32 the last block is filled with zeros.
    Returns the same matrix, each value within half a scale of what it was (a whole scale opposite the block's m).
    Raises BadModel when a value is not finite, or so large that its scale has no float16.
    Source: ggml-org/ggml src/ggml-quants.c, quantize_row_q4_0_ref.
    """
    n, k = matrix.shape
    q4 = np.empty((n, n_blocks_of(k), BLOCK // 2), np.uint8)
    scale = np.empty((n, n_blocks_of(k)), np.float16)
    n_rows = max(1, _CHUNK // max(k, 1))
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        q4[rows], scale[rows] = _quantize_blocks(in_blocks(matrix[rows]))
    return Q4Matrix(q4, scale, k)


def _quantize_blocks(blocks: Float32) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """blocks: float32 (n, n_blocks, 32). Returns nibbles (n, n_blocks, 16) and scales (n, n_blocks)."""
    largest = np.abs(blocks).argmax(axis=-1, keepdims=True)  # the first one, where two are as large
    exact = np.take_along_axis(blocks, largest, axis=-1) / np.float32(-8)
    with np.errstate(over="ignore", invalid="ignore"):  # Q4Matrix refuses what is not finite
        scale = exact.astype(np.float16)
        # The nibbles come from the scale before its rounding, as in ggml. Where it rounds to zero they are 8.
        inverse = np.divide(1, exact, out=np.zeros_like(exact), where=scale != 0)
        nibbles = np.minimum((blocks * inverse + np.float32(8.5)).astype(np.uint8), 15)
    return nibbles[..., : BLOCK // 2] | nibbles[..., BLOCK // 2 :] << 4, scale[..., 0]
