"""Looks the tensors of a checkpoint up under their official names, and checks their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel
from tympan.weights.blocks import BlockFormat, BlockMatrix
from tympan.weights.matrix import BLOCKS, STORED, Matrix


@runtime_checkable
class OnDemand(Protocol):
    """Tensors that are read from a file when they are asked for: their shapes can be had without."""

    def shape(self, name: str) -> tuple[int, ...]: ...


class Tensors:
    """A checkpoint: official name -> array. Every method raises BadModel for a missing tensor or another shape."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        self._tensors = tensors

    def n_rows(self, name: str) -> int:
        """The first dimension of the tensor `name`, which may be in blocks."""
        block_format = self._block_format(name)
        shape = self._shape(f"{name}.{block_format}" if block_format else name)
        if not shape:
            raise BadModel(f"{name} is a single number")
        return shape[0]

    def dense(self, name: str, *shape: int, alias: str = "") -> Float32:
        """The tensor `name`, or `alias` where there is no such name: float32 of `shape`."""
        array = self._get(alias if name not in self._tensors and alias in self._tensors else name)
        if array.shape != shape:
            raise BadModel(f"{name} has shape {array.shape}, {shape} expected")
        return np.ascontiguousarray(array, dtype=np.float32)

    def vector(self, name: str, n: int) -> Float32:
        """The tensor `name` of any shape that holds `n` values: float32 (n,)."""
        array = self._get(name)
        if array.size != n:
            raise BadModel(f"{name} holds {array.size} values, {n} expected")
        return np.ascontiguousarray(array, dtype=np.float32).reshape(n)

    def matrix(self, name: str, n: int, k: int, alias: str = "") -> Matrix:
        """The matrix `name` or `alias` (n, k): in blocks where the checkpoint holds it so, else in float32."""
        for stored in (name, alias):
            if block_format := self._block_format(stored):
                matrix = self._blocks(stored, block_format, k)
                if matrix.shape != (n, k):
                    raise BadModel(f"{stored} has shape {matrix.shape}, {(n, k)} expected")
                return matrix
        return self.dense(name, n, k, alias=alias)

    def _block_format(self, name: str) -> BlockFormat | None:
        return next((block_format for block_format in BLOCKS if f"{name}.{block_format}" in self._tensors), None)

    def _blocks(self, name: str, block_format: BlockFormat, k: int) -> BlockMatrix:
        if isinstance(self._tensors, OnDemand):
            self._shape(f"{name}.scale")
            return STORED[block_format](self.n_rows(name), k, lambda part: self._get(f"{name}.{part}"))
        return BLOCKS[block_format](self._get(f"{name}.{block_format}"), self._get(f"{name}.scale"), k)

    def _shape(self, name: str) -> tuple[int, ...]:
        if isinstance(self._tensors, OnDemand) and name in self._tensors:
            return self._tensors.shape(name)
        return self._get(name).shape

    def _get(self, name: str) -> NDArray[Any]:
        if name not in self._tensors:
            raise BadModel(f"the tensor {name} is missing")
        return self._tensors[name]
