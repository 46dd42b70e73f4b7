"""The one place of Mimi where a matrix meets vectors."""

from __future__ import annotations

from enum import Enum

import numpy as np

from tympan.arrays import Float32
from tympan.mimi.activations import activate
from tympan.mimi.kernels import Activation, Panels
from tympan.wasm import module

INT16_LIMIT = np.float32(32767)


class Precision(Enum):
    """How the transformer's matrices are held, whose reading takes longer than their arithmetic."""

    FLOAT32 = "float32"  # as they came
    INT16 = "int16"  # rounded to a multiple of their row's largest magnitude / 32767: half the memory


class Matrix:
    """A matrix W (n, k) and a bias (n,), in the form in which they are applied fastest here. Read only."""

    def __init__(self, weight: Float32, bias: Float32 | None = None, precision: Precision = Precision.FLOAT32) -> None:
        """weight: float32 (n, k). bias: float32 (n,), or none. precision: of the weight."""
        self.shape, self._bias = weight.shape, bias
        kernels, is_int16 = module.kernels(), precision is Precision.INT16
        self.panels: Panels | None = None  # what the kernels take, where there are any
        if kernels is not None:
            self.panels = kernels.pack(np.ascontiguousarray(weight), bias, int16=is_int16)
        else:
            self._dense = _rounded(weight) if is_int16 else weight

    def linear(self, x: Float32, residual: Float32 | None = None, activation: Activation = Activation.NONE) -> Float32:
        """activation(x @ W.T + bias + residual): float32 (m, k) -> (m, n), with residual (m, n).

        The rows of x may overlap: those of a convolution are windows on its samples.
        """
        kernels = module.kernels()
        if kernels is not None and self.panels is not None:
            return kernels.product(x, self.panels, residual, activation)
        y = np.ascontiguousarray(x) @ self._dense.T
        if self._bias is not None:
            y += self._bias
        if residual is not None:
            y += residual
        return activate(y, activation)


def _rounded(weight: Float32) -> Float32:
    """What weight (n, k) is after a round trip through int16."""
    scale = np.abs(weight).max(axis=1, keepdims=True) / INT16_LIMIT
    return np.rint(weight / np.where(scale > 0, scale, 1)) * scale
