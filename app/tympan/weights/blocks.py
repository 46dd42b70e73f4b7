"""Matrices in blocks of 32 weights along a row with a half-float scale each: what all formats of blocks have in common.

    value[j] = scale * integer[j]

A matrix W of the format "q4" is two tensors, `W.q4` and `W.scale`, and so with every format. GGUF keeps each block
behind its scale; nothing is rounded on the way from there or back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel

BlockFormat: TypeAlias = Literal["q4", "q8"]

BLOCK = 32
SCALE_BYTES = 2


@dataclass(frozen=True)
class BlockMatrix(ABC):
    """A matrix (n, k) of blocks along k; where k is no multiple of 32 the last block ends in zeros.

    blocks: `dtype` (n, ceil(k / 32), block_bytes). scale: float16 (n, ceil(k / 32)), finite.
    Raises BadModel on any other shape, and on a scale that is not finite.
    """

    format: ClassVar[BlockFormat]
    dtype: ClassVar[type[np.generic]]  # of one byte
    block_bytes: ClassVar[int]

    blocks: NDArray[Any]
    scale: NDArray[np.float16]
    k: int

    def __post_init__(self) -> None:
        n = self.blocks.shape[0] if self.blocks.ndim else 0
        self.check_blocks(self.blocks, n, self.k)
        self.check_scale(self.scale, n, self.k)

    @staticmethod
    @abstractmethod
    def integers(blocks: NDArray[Any]) -> Float32:
        """What the scales are multiplied by: (..., block_bytes) -> float32 (..., 32)."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape[0], self.k

    @property
    def n_bytes(self) -> tuple[int, int]:
        """How much the blocks take, and how much the scales. Nothing is read for it."""
        n_blocks = self.shape[0] * n_blocks_of(self.k)
        return n_blocks * self.block_bytes, n_blocks * SCALE_BYTES

    def rows(self, index: slice | NDArray[np.integer] | int) -> Float32:
        """The rows `index`, in float32: (..., k)."""
        values = self.integers(self.blocks[index]) * self.scale[index].astype(np.float32)[..., None]
        return values.reshape(*values.shape[:-2], -1)[..., : self.k]

    def dequantize(self) -> Float32:
        """The whole matrix in float32: (n, k)."""
        return np.ascontiguousarray(self.rows(slice(None)))

    @classmethod
    def check_blocks(cls, blocks: NDArray[Any], n: int, k: int) -> None:
        """Raises BadModel unless these are the blocks of a matrix (n, k)."""
        if blocks.shape != (n, n_blocks_of(k), cls.block_bytes) or blocks.dtype != cls.dtype:
            raise BadModel(f"{cls.format} blocks of shape {blocks.shape} {blocks.dtype} do not hold {n} rows of {k}")

    @classmethod
    def check_scale(cls, scale: NDArray[Any], n: int, k: int) -> None:
        """Raises BadModel unless these are the scales of a matrix (n, k)."""
        if scale.shape != (n, n_blocks_of(k)) or scale.dtype != np.float16:
            raise BadModel(f"{cls.format} scales of shape {scale.shape} {scale.dtype} do not fit {n} rows of {k}")
        if not np.isfinite(scale).all():
            raise BadModel(f"a {cls.format} scale is not finite")

    @classmethod
    def from_gguf(cls, blocks: NDArray[np.uint8], k: int) -> Self:
        """Part scales and blocks, as copies.

        blocks: uint8 (n, ceil(k / 32), 2 + block_bytes), as a GGUF file has them. Raises BadModel on any other shape,
        and on a scale that is not finite.
        """
        if blocks.ndim != 3 or blocks.shape[2] != SCALE_BYTES + cls.block_bytes or blocks.dtype != np.uint8:
            raise BadModel(f"{blocks.shape} {blocks.dtype} are no {cls.format} blocks of GGUF")
        scale = np.ascontiguousarray(blocks[..., :SCALE_BYTES]).view("<f2")[..., 0]
        return cls(np.ascontiguousarray(blocks[..., SCALE_BYTES:]).view(cls.dtype), scale, k)

    def to_gguf(self) -> NDArray[np.uint8]:
        """The same for a GGUF file: uint8 (n, ceil(k / 32), 2 + block_bytes)."""
        scale = self.scale[..., None].astype("<f2").view(np.uint8)
        return np.concatenate([scale, self.blocks.view(np.uint8)], axis=-1)


class StoredBlocks(BlockMatrix):
    """A matrix in a file: its parts are read whenever they are asked for, and not kept.

    So a model goes to the GPU without ever being in memory whole. Reading raises what `BlockMatrix` raises.
    """

    _n: int
    _read: Callable[[str], NDArray[Any]]

    def __init__(self, n: int, k: int, read: Callable[[str], NDArray[Any]]) -> None:
        """read: called with the format's name or "scale"; returns that part, of whatever shape and dtype it has."""
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "_n", n)
        object.__setattr__(self, "_read", read)

    @property
    def shape(self) -> tuple[int, int]:
        return self._n, self.k

    @property
    def blocks(self) -> NDArray[Any]:
        blocks = self._read(self.format)
        self.check_blocks(blocks, self._n, self.k)
        return blocks

    @property
    def scale(self) -> NDArray[np.float16]:
        scale = self._read("scale")
        self.check_scale(scale, self._n, self.k)
        return scale


def n_blocks_of(k: int) -> int:
    """How many blocks a row of k weights takes."""
    return -(-k // BLOCK)


def in_blocks(matrix: Float32) -> Float32:
    """Rows (n, k) cut into blocks, the last one of each filled up with zeros: float32 (n, ceil(k / 32), 32)."""
    n, k = matrix.shape
    return np.pad(matrix, ((0, 0), (0, -k % BLOCK))).reshape(n, n_blocks_of(k), BLOCK)
