"""Q4: blocks of 32 weights with 4 bits each. Defines the layout.

    value[j] = scale * (nibble[j] - 8)        nibble 0 .. 15
    byte j of a block holds element j in its low and element j + 16 in its high nibble, j < 16

The scale of a block is m / -8, where m is the signed element of largest magnitude. So m itself is stored exactly
(nibble 0), up to the rounding of the scale. The rule is the same as GGUF's Q4_0.
Source: ggml-org/ggml src/ggml-quants.c, Q4_0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BLOCK, BlockMatrix, LazyBlockMatrix, n_blocks_of, split_into_blocks

_CHUNK = 1 << 18  # elements quantized at a time, so that temporaries fit in the CPU cache


class Q4Matrix(BlockMatrix):
    """A matrix of Q4 blocks: uint8 (n, ceil(k / 32), 16)."""

    format = "q4"
    dtype = np.uint8
    block_bytes = BLOCK // 2

    @staticmethod
    def integers(blocks: NDArray[np.uint8]) -> Float32:
        return np.concatenate([blocks & 15, blocks >> 4], axis=-1).astype(np.float32) - 8


class LazyQ4Matrix(LazyBlockMatrix, Q4Matrix):
    """A matrix of Q4 blocks that is read from a file on access."""


def quantize(matrix: Float32) -> Q4Matrix:
    """Quantize a matrix to Q4, block by block along its rows.

    matrix: float32 (n, k); if k is not a multiple of 32, the last block is padded with zeros.
    Returns a matrix in which each value differs by at most half a scale (a whole scale at the end opposite to m).
    Raises BadModel if a value is not finite, or so large that its scale exceeds float16.
    Source: ggml-org/ggml src/ggml-quants.c, quantize_row_q4_0_ref.
    """
    n, k = matrix.shape
    q4 = np.empty((n, n_blocks_of(k), BLOCK // 2), np.uint8)
    scale = np.empty((n, n_blocks_of(k)), np.float16)
    n_rows = max(1, _CHUNK // max(k, 1))
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        q4[rows], scale[rows] = _quantize_blocks(split_into_blocks(matrix[rows]))
    return Q4Matrix(q4, scale, k)


def _quantize_blocks(blocks: Float32) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """blocks: float32 (n, n_blocks, 32). Returns nibbles (n, n_blocks, 16) and scales (n, n_blocks)."""
    largest = np.abs(blocks).argmax(axis=-1, keepdims=True)  # the first, if several have the same magnitude
    exact = np.take_along_axis(blocks, largest, axis=-1) / np.float32(-8)
    with np.errstate(over="ignore", invalid="ignore"):  # Q4Matrix rejects non-finite scales
        scale = exact.astype(np.float16)
        # As in ggml, nibbles are computed with the unrounded scale. If the scale rounds to zero, they are 8.
        inverse = np.divide(1, exact, out=np.zeros_like(exact), where=scale != 0)
        nibbles = np.minimum((blocks * inverse + np.float32(8.5)).astype(np.uint8), 15)
    return nibbles[..., : BLOCK // 2] | nibbles[..., BLOCK // 2 :] << 4, scale[..., 0]
