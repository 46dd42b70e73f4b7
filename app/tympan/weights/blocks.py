"""Block-quantized matrices: blocks of 32 weights along a row, each with one half-float scale. Shared by all formats.

    value[j] = scale * integer[j]

A matrix W of the format "q4" is stored as two tensors, `W.q4` and `W.scale`; other formats likewise. GGUF interleaves
the two: each block follows its scale. Converting in either direction is exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel

BlockFormat: TypeAlias = Literal["q4", "q8"]

BLOCK = 32
SCALE_BYTES = 2


class BlockMatrix(ABC):
    """A block-quantized matrix (n, k), read only. If k is not a multiple of 32, the last block is padded with zeros.

    blocks: `dtype` (n, ceil(k / 32), block_bytes). scale: float16 (n, ceil(k / 32)), finite.
    Raises BadModel if a shape or dtype differs, or a scale is not finite.
    """

    format: ClassVar[BlockFormat]
    dtype: ClassVar[type[np.generic]]  # one byte wide
    block_bytes: ClassVar[int]

    def __init__(self, blocks: NDArray[Any], scale: NDArray[np.float16], k: int) -> None:
        n = blocks.shape[0] if blocks.ndim else 0
        self.check_blocks(blocks, n, k)
        self.check_scale(scale, n, k)
        self._blocks, self._scale, self._shape = blocks, scale, (n, k)

    @staticmethod
    @abstractmethod
    def integers(blocks: NDArray[Any]) -> Float32:
        """The quantized integers, before scaling: (..., block_bytes) -> float32 (..., 32)."""

    @property
    def blocks(self) -> NDArray[Any]:
        return self._blocks

    @property
    def scale(self) -> NDArray[np.float16]:
        return self._scale

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def k(self) -> int:
        return self._shape[1]

    @property
    def n_bytes(self) -> tuple[int, int]:
        """Size of the blocks and of the scales, computed from the shape without reading data."""
        n_blocks = self.shape[0] * n_blocks_of(self.k)
        return n_blocks * self.block_bytes, n_blocks * SCALE_BYTES

    def rows(self, index: slice | NDArray[np.integer] | int) -> Float32:
        """Dequantize the rows `index`: float32 (..., k)."""
        values = self.integers(self.blocks[index]) * self.scale[index].astype(np.float32)[..., None]
        return values.reshape(*values.shape[:-2], -1)[..., : self.k]

    def dequantize(self) -> Float32:
        """Dequantize the whole matrix: float32 (n, k)."""
        return np.ascontiguousarray(self.rows(slice(None)))

    @classmethod
    def check_blocks(cls, blocks: NDArray[Any], n: int, k: int) -> None:
        """Raise BadModel unless `blocks` has the shape and dtype for a matrix (n, k)."""
        if blocks.shape != (n, n_blocks_of(k), cls.block_bytes) or blocks.dtype != cls.dtype:
            raise BadModel(f"{cls.format} blocks of shape {blocks.shape} {blocks.dtype} do not hold {n} rows of {k}")

    @classmethod
    def check_scale(cls, scale: NDArray[Any], n: int, k: int) -> None:
        """Raise BadModel unless `scale` has the shape and dtype for a matrix (n, k) and is finite."""
        if scale.shape != (n, n_blocks_of(k)) or scale.dtype != np.float16:
            raise BadModel(f"{cls.format} scales of shape {scale.shape} {scale.dtype} do not fit {n} rows of {k}")
        if not np.isfinite(scale).all():
            raise BadModel(f"a {cls.format} scale is not finite")

    @classmethod
    def from_gguf(cls, blocks: NDArray[np.uint8], k: int) -> Self:
        """Split GGUF's interleaved scales and blocks into two views of the data.

        blocks: uint8 (n, ceil(k / 32), 2 + block_bytes), as stored in a GGUF file. Raises BadModel if the shape
        differs or a scale is not finite.
        """
        if blocks.ndim != 3 or blocks.shape[2] != SCALE_BYTES + cls.block_bytes or blocks.dtype != np.uint8:
            raise BadModel(f"an array {blocks.shape} {blocks.dtype} does not hold {cls.format} blocks of GGUF")
        scale = blocks[..., :SCALE_BYTES].view("<f2")[..., 0]
        return cls(blocks[..., SCALE_BYTES:].view(cls.dtype), scale, k)

    def to_gguf(self) -> NDArray[np.uint8]:
        """Interleave scales and blocks for a GGUF file: uint8 (n, ceil(k / 32), 2 + block_bytes)."""
        scale = self.scale[..., None].astype("<f2").view(np.uint8)
        return np.concatenate([scale, self.blocks.view(np.uint8)], axis=-1)


class LazyBlockMatrix(BlockMatrix):
    """A block-quantized matrix in a file; blocks and scales are read on every access and not cached.

    This lets a model be uploaded to the GPU without ever being in memory as a whole. Reading raises the errors of
    `BlockMatrix`.
    """

    def __init__(self, n: int, k: int, read: Callable[[str], NDArray[Any]]) -> None:
        """read: called with the format's name or "scale"; returns that part, which is checked after each read."""
        self._shape, self._read = (n, k), read

    @property
    def blocks(self) -> NDArray[Any]:
        blocks = self._read(self.format)
        self.check_blocks(blocks, *self.shape)
        return blocks

    @property
    def scale(self) -> NDArray[np.float16]:
        scale = self._read("scale")
        self.check_scale(scale, *self.shape)
        return scale


def n_blocks_of(k: int) -> int:
    """Number of blocks in a row of k weights."""
    return -(-k // BLOCK)


def split_into_blocks(matrix: Float32) -> Float32:
    """Split the rows of (n, k) into blocks, padding the last with zeros: float32 (n, ceil(k / 32), 32)."""
    n, k = matrix.shape
    return np.pad(matrix, ((0, 0), (0, -k % BLOCK))).reshape(n, n_blocks_of(k), BLOCK)
