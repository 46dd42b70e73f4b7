"""Looks the tensors of a checkpoint up under their official names, and checks their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel
from tympan.weights.q4 import Q4Matrix

Matrix: TypeAlias = Float32 | Q4Matrix


class Tensors:
    """A checkpoint: official name -> array. Every method raises BadModel for a missing tensor or another shape."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        self._tensors = tensors

    def n_rows(self, name: str) -> int:
        """The first dimension of the tensor `name`, which may be in Q4."""
        return len(self._get(f"{name}.q4" if f"{name}.q4" in self._tensors else name))

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
        """The matrix `name` or `alias` (n, k): Q4 where the checkpoint holds `.q4` and `.scale`, else float32."""
        for stored in (name, alias):
            if f"{stored}.q4" in self._tensors:
                q4 = Q4Matrix(self._get(f"{stored}.q4"), self._get(f"{stored}.scale"), k)
                if q4.shape != (n, k):
                    raise BadModel(f"{stored} has shape {q4.shape}, {(n, k)} expected")
                return q4
        return self.dense(name, n, k, alias=alias)

    def _get(self, name: str) -> NDArray[Any]:
        if name not in self._tensors:
            raise BadModel(f"the tensor {name} is missing")
        return self._tensors[name]
