"""Chooses the scales of Q4 blocks that minimize the squared error, by a small search around ggml's rule.

For given nibbles q, the best scale of a block x is (x . q) / (q . q), with the error x . x - (x . q)^2 / (q . q). So
a few scales are tried, each determines nibbles, and the nibbles with the smallest error are used.
Source of the idea: ggml-org/ggml src/ggml-quants.c, make_qx_quants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights import q4
from tympan.weights.blocks import BLOCK, split_into_blocks
from tympan.weights.q4 import Q4Matrix

# The value that a block's largest element is mapped to; -8 in ggml's rule. Below -8 it is clipped, and the others gain.
_ENDS = tuple(np.linspace(-9.6, -6.6, 16, dtype=np.float32)) + tuple(np.linspace(6.6, 8.4, 7, dtype=np.float32))
_CHUNK_ROWS_BYTES = 1 << 20


def quantize(matrix: Float32) -> Q4Matrix:
    """Quantize a matrix to Q4 with the best scales found; no block has a larger error than with `q4.quantize`.

    matrix: float32 (n, k). Raises BadModel if a value is not finite, or so large that its scale exceeds float16.
    """
    plain = q4.quantize(matrix)
    n, k = matrix.shape
    blocks_per_row = plain.scale.shape[1]
    n_rows = max(1, _CHUNK_ROWS_BYTES // matrix.itemsize // max(k, 1))
    nibbles, scale = plain.blocks.copy(), plain.scale.copy()
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        x = split_into_blocks(matrix[rows]).reshape(-1, BLOCK)
        before = Q4Matrix(plain.blocks[rows], plain.scale[rows], blocks_per_row * BLOCK).dequantize().reshape(-1, BLOCK)
        q, d = _search(x)
        better = _errors(x, q * d.astype(np.float32)[:, None]) < _errors(x, before)
        low, high = np.split((q + 8).astype(np.uint8), 2, axis=1)
        packed = low | high << 4
        nibbles[rows].reshape(-1, BLOCK // 2)[better] = packed[better]
        scale[rows].reshape(-1)[better] = d[better]
    return Q4Matrix(nibbles, scale, k)


def _search(x: Float32) -> tuple[Float32, NDArray[np.float16]]:
    """x: float32 (n_blocks, 32). Returns q (n_blocks, 32) in -8 .. 7, and scales float16 (n_blocks,)."""
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1, keepdims=True), axis=1)
    inverse = np.divide(1, largest, out=np.zeros_like(largest), where=np.abs(largest) > np.finfo(np.float32).tiny)
    best_gain = np.zeros(len(x), np.float32)
    d = np.zeros(len(x), np.float32)
    for end in _ENDS:
        q = np.clip(np.rint(x * (inverse * end)), -8, 7)
        along, length = np.einsum("bj,bj->b", x, q), np.einsum("bj,bj->b", q, q)
        ratio = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
        is_best = along * ratio > best_gain
        best_gain[is_best], d[is_best] = (along * ratio)[is_best], ratio[is_best]
    with np.errstate(over="ignore"):
        rounded = d.astype(np.float16)
    exact = rounded.astype(np.float32)
    usable = (exact != 0) & np.isfinite(exact)
    inverse = np.divide(1, exact, out=np.zeros_like(exact), where=usable)
    return np.clip(np.rint(x * inverse[:, None]), -8, 7), np.where(usable, rounded, np.float16(0))


def _errors(x: Float32, restored: Float32) -> Float32:
    return np.square(x - restored).sum(axis=1)
