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

    The result has the same bits on every machine.
    matrix: float32 (n, k). Raises BadModel if a value is not finite, or so large that its scale exceeds float16.
    """
    plain = q4.quantize(matrix)
    n, k = matrix.shape
    n_rows = max(1, _CHUNK_ROWS_BYTES // matrix.itemsize // max(k, 1))
    nibbles, scale = plain.blocks.copy(), plain.scale.copy()
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        x = np.ascontiguousarray(split_into_blocks(matrix[rows]).reshape(-1, BLOCK).T)
        before = Q4Matrix.integers(plain.blocks[rows]).reshape(-1, BLOCK).T * plain.scale[rows].reshape(-1).astype("f4")
        q, d = _search(x)
        better = _errors(x, q * d.astype(np.float32)) < _errors(x, before)
        low, high = np.split((q[:, better].T + 8).astype(np.uint8), 2, axis=1)
        nibbles[rows].reshape(-1, BLOCK // 2)[better] = low | high << 4
        scale[rows].reshape(-1)[better] = d[better]
    return Q4Matrix(nibbles, scale, k)


def _search(x: Float32) -> tuple[Float32, NDArray[np.float16]]:
    """x: float32 (32, n_blocks). Returns q (32, n_blocks) in -8 .. 7, and scales float16 (n_blocks,)."""
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0)[0]
    inverse = np.divide(1, largest, out=np.zeros_like(largest), where=np.abs(largest) > np.finfo(np.float32).tiny)
    best_gain, d = np.zeros_like(largest), np.zeros_like(largest)
    for end in _ENDS:
        q = np.clip(np.rint(x * (inverse * end)), -8, 7)
        along, length = _sum(x * q), _sum(q * q)
        ratio = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
        is_best = along * ratio > best_gain
        best_gain[is_best], d[is_best] = (along * ratio)[is_best], ratio[is_best]
    with np.errstate(over="ignore"):
        rounded = d.astype(np.float16)
    exact = rounded.astype(np.float32)
    usable = (exact != 0) & np.isfinite(exact)
    inverse = np.divide(1, exact, out=np.zeros_like(exact), where=usable)
    return np.clip(np.rint(x * inverse), -8, 7), np.where(usable, rounded, np.float16(0))


def _errors(x: Float32, restored: Float32) -> Float32:
    return _sum(np.square(x - restored))


def _sum(values: Float32) -> Float32:
    """Sum over the first axis, whose length is a power of two, in a fixed order: numpy's depends on the CPU."""
    while len(values) > 1:
        half = len(values) // 2
        values = values[:half] + values[half:]
    return values[0]
