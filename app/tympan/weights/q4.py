"""Q4: blocks of 32 weights, one half-float scale each. The one definition of the layout.

    value[j] = scale * (nibble[j] - 8)        nibble 0 .. 15
    byte j of a block holds element j in its low and element j + 16 in its high nibble, j < 16

The scale of a block is m / -8 where m is the element of largest magnitude, sign kept, so m itself
is stored exactly (nibble 0) up to the rounding of the scale. GGUF's Q4_0 is this very rule with scale
and nibbles interleaved: 2 + 16 bytes a block. Source: ggml-org/ggml src/ggml-quants.c, Q4_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel

BLOCK = 32
GGUF_BLOCK_BYTES = 18  # a float16 scale, then 16 bytes of nibbles

_CHUNK = 1 << 18  # elements quantized at a time, so that the temporaries stay in the cache


@dataclass(frozen=True)
class Q4Matrix:
    """A matrix (n, k) of Q4 blocks along k; where k is no multiple of 32 the last block ends in zeros.

    q4: uint8 (n, ceil(k / 32), 16). scale: float16 (n, ceil(k / 32)), finite.
    Raises BadModel on any other shape, and on a scale that is not finite.
    """

    q4: NDArray[np.uint8]
    scale: NDArray[np.float16]
    k: int

    def __post_init__(self) -> None:
        n_blocks = -(-self.k // BLOCK)
        if self.q4.ndim != 3 or self.q4.shape[1:] != (n_blocks, BLOCK // 2) or self.q4.dtype != np.uint8:
            raise BadModel(f"Q4 blocks of shape {self.q4.shape} {self.q4.dtype} do not hold rows of {self.k}")
        _check_scale(self.scale, self.q4.shape[:2])

    @property
    def shape(self) -> tuple[int, int]:
        return self.q4.shape[0], self.k

    @property
    def n_bytes(self) -> tuple[int, int]:
        """How much the blocks take, and how much the scales."""
        n_blocks = self.shape[0] * -(-self.k // BLOCK)
        return n_blocks * BLOCK // 2, n_blocks * 2

    def rows(self, index: slice | NDArray[np.integer] | int) -> NDArray[np.float32]:
        """The rows `index`, in float32: (..., k)."""
        q4, scale = self.q4[index], self.scale[index].astype(np.float32)
        nibbles = np.concatenate([q4 & 15, q4 >> 4], axis=-1).astype(np.float32) - 8
        values = nibbles * scale[..., None]
        return values.reshape(*values.shape[:-2], -1)[..., : self.k]

    def dequantize(self) -> NDArray[np.float32]:
        """The whole matrix in float32: (n, k)."""
        return np.ascontiguousarray(self.rows(slice(None)))


class StoredQ4Matrix(Q4Matrix):
    """A matrix in a file: its parts are read whenever they are asked for, and not kept.

    So a model goes to the GPU without ever being in memory whole. Reading raises what `Q4Matrix` raises.
    """

    _n: int
    _read: Callable[[str], NDArray[Any]]

    def __init__(self, n: int, k: int, read: Callable[[str], NDArray[Any]]) -> None:
        """read: called with "q4" or "scale"; returns that part, of whatever shape and dtype it is stored in."""
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "_n", n)
        object.__setattr__(self, "_read", read)

    @property
    def shape(self) -> tuple[int, int]:
        return self._n, self.k

    @property
    def q4(self) -> NDArray[np.uint8]:
        q4, n_blocks = self._read("q4"), -(-self.k // BLOCK)
        if q4.shape != (self._n, n_blocks, BLOCK // 2) or q4.dtype != np.uint8:
            raise BadModel(f"Q4 blocks of shape {q4.shape} {q4.dtype} do not hold {self._n} rows of {self.k}")
        return q4

    @property
    def scale(self) -> NDArray[np.float16]:
        scale = self._read("scale")
        _check_scale(scale, (self._n, -(-self.k // BLOCK)))
        return scale


def _check_scale(scale: NDArray[Any], shape: tuple[int, ...]) -> None:
    if scale.shape != shape or scale.dtype != np.float16:
        raise BadModel(f"Q4 scales of shape {scale.shape} {scale.dtype} do not fit blocks {shape}")
    if not np.isfinite(scale).all():
        raise BadModel(f"a Q4 scale of {shape} is not finite")


def quantize(matrix: NDArray[np.float32]) -> Q4Matrix:
    """Round a matrix to Q4, block by block along its rows.

    matrix: float32 (n, k); where k is no multiple of 32 the last block is filled with zeros.
    Returns the same matrix, each value within half a scale of what it was (a whole scale opposite the block's m).
    Raises BadModel when a value is not finite, or so large that its scale has no float16.
    Source: ggml-org/ggml src/ggml-quants.c, quantize_row_q4_0_ref.
    """
    n, k = matrix.shape
    n_blocks = -(-k // BLOCK)
    q4 = np.empty((n, n_blocks, BLOCK // 2), np.uint8)
    scale = np.empty((n, n_blocks), np.float16)
    n_rows = max(1, _CHUNK // max(k, 1))
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        padded = np.pad(matrix[rows], ((0, 0), (0, n_blocks * BLOCK - k)))
        q4[rows], scale[rows] = _quantize_blocks(padded.reshape(-1, n_blocks, BLOCK))
    return Q4Matrix(q4, scale, k)


def _quantize_blocks(blocks: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """blocks: float32 (n, n_blocks, 32). Returns nibbles (n, n_blocks, 16) and scales (n, n_blocks)."""
    largest = np.abs(blocks).argmax(axis=-1, keepdims=True)  # the first one, where two are as large
    exact = np.take_along_axis(blocks, largest, axis=-1) / np.float32(-8)
    with np.errstate(over="ignore", invalid="ignore"):  # Q4Matrix refuses what is not finite
        scale = exact.astype(np.float16)
        # The nibbles come from the scale before its rounding, as in ggml. Where it rounds to zero they are 8.
        inverse = np.divide(1, exact, out=np.zeros_like(exact), where=scale != 0)
        nibbles = np.minimum((blocks * inverse + np.float32(8.5)).astype(np.uint8), 15)
    return nibbles[..., : BLOCK // 2] | nibbles[..., BLOCK // 2 :] << 4, scale[..., 0]


def from_gguf(blocks: NDArray[np.uint8], k: int) -> Q4Matrix:
    """Read GGUF's Q4_0 blocks: nothing is rounded, scales and nibbles only part ways.

    blocks: uint8 (n, ceil(k / 32), 18). Raises BadModel on any other shape, and on a scale that is not finite.
    """
    if blocks.ndim != 3 or blocks.shape[2] != GGUF_BLOCK_BYTES or blocks.dtype != np.uint8:
        raise BadModel(f"{blocks.shape} {blocks.dtype} are no Q4_0 blocks")
    scale = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]
    return Q4Matrix(np.ascontiguousarray(blocks[..., 2:]), scale, k)


def to_gguf(matrix: Q4Matrix) -> NDArray[np.uint8]:
    """Write GGUF's Q4_0 blocks: uint8 (n, ceil(k / 32), 18)."""
    return np.concatenate([matrix.scale[..., None].astype("<f2").view(np.uint8), matrix.q4], axis=-1)
