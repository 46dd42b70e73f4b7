"""Looks up the tensors of a checkpoint by their official names and checks their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel
from tympan.weights.blocks import BlockFormat, BlockMatrix
from tympan.weights.matrix import BLOCKS, LAZY_BLOCKS, Matrix


@runtime_checkable
class LazyTensors(Protocol):
    """Tensors that are read from a file on access; shapes are available without reading."""

    def shape(self, name: str) -> tuple[int, ...]: ...


class Tensors:
    """A checkpoint: official name -> array. Methods raise BadModel if a tensor is missing or its shape differs."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        self._tensors = tensors
        self._used: set[str] = set()

    def check_all_used(self) -> None:
        """Raise BadModel if there is a tensor that no method was asked for, such as a layer beyond the config's."""
        if unused := sorted(set(self._tensors) - self._used):
            raise BadModel(f"the config has no place for the tensor {unused[0]}")

    def n_rows(self, name: str) -> int:
        """The first dimension of the tensor `name`, which may be block-quantized."""
        block_format = self._block_format(name)
        shape = self._shape(f"{name}.{block_format}" if block_format else name)
        if not shape:
            raise BadModel(f"{name} is a scalar")
        return shape[0]

    def stored(self, name: str, *shape: int, alias: str = "") -> NDArray[Any]:
        """The tensor `name`, or `alias` if `name` does not exist: `shape`, in the dtype of the checkpoint."""
        array = self._get(alias if name not in self._tensors and alias in self._tensors else name)
        if array.shape != shape:
            raise BadModel(f"{name} has shape {array.shape}, {shape} expected")
        return array

    def dense(self, name: str, *shape: int, alias: str = "") -> Float32:
        """The tensor `name`, or `alias` if `name` does not exist: float32 of `shape`."""
        return np.ascontiguousarray(self.stored(name, *shape, alias=alias), dtype=np.float32)

    def vector(self, name: str, n: int) -> Float32:
        """The tensor `name`, of any shape with `n` values: float32 (n,).

        Raises BadModel also if a value is not finite: a NaN in a norm makes every later value NaN.
        """
        array = self._get(name)
        if array.size != n:
            raise BadModel(f"{name} holds {array.size} values, {n} expected")
        if not np.isfinite(array).all():
            raise BadModel(f"the tensor {name} holds a value that is not finite")
        return np.ascontiguousarray(array, dtype=np.float32).reshape(n)

    def matrix(self, name: str, n: int, k: int, alias: str = "") -> Matrix:
        """The matrix `name` or `alias` (n, k): block-quantized if the checkpoint stores it so, else float32."""
        for stored in (name, alias):
            if block_format := self._block_format(stored):
                matrix = self._block_matrix(stored, block_format, k)
                if matrix.shape != (n, k):
                    raise BadModel(f"{stored} has shape {matrix.shape}, {(n, k)} expected")
                return matrix
        return self.dense(name, n, k, alias=alias)

    def _block_format(self, name: str) -> BlockFormat | None:
        return next((block_format for block_format in BLOCKS if f"{name}.{block_format}" in self._tensors), None)

    def _block_matrix(self, name: str, block_format: BlockFormat, k: int) -> BlockMatrix:
        if isinstance(self._tensors, LazyTensors):
            self._shape(f"{name}.scale")  # so that a missing scale is reported now
            return LAZY_BLOCKS[block_format](self.n_rows(name), k, lambda part: self._get(f"{name}.{part}"))
        return BLOCKS[block_format](self._get(f"{name}.{block_format}"), self._get(f"{name}.scale"), k)

    def _shape(self, name: str) -> tuple[int, ...]:
        if isinstance(self._tensors, LazyTensors) and name in self._tensors:
            self._used.add(name)
            return self._tensors.shape(name)
        return self._get(name).shape

    def _get(self, name: str) -> NDArray[Any]:
        if name not in self._tensors:
            raise BadModel(f"the tensor {name} is missing")
        self._used.add(name)
        return self._tensors[name]
