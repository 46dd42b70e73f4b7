"""Linear layers of Mimi: computed by a kernel if SIMD is available, else by numpy."""

from __future__ import annotations

from enum import Enum

import numpy as np

from tympan.arrays import Float32
from tympan.mimi.activations import activate
from tympan.mimi.kernels import Activation, Panels, mimi_kernels

INT16_LIMIT = np.float32(32767)


class Precision(Enum):
    """How the transformer's weights are stored. Reading them from memory takes longer than the arithmetic."""

    FLOAT32 = "float32"  # unchanged
    INT16 = "int16"  # each row rounded to multiples of its largest magnitude / 32767: half the memory


class Linear:
    """A linear layer: a weight W (n, k) and a bias (n,), packed for the kernels if SIMD is available. Read only."""

    def __init__(self, weight: Float32, bias: Float32 | None = None, precision: Precision = Precision.FLOAT32) -> None:
        """weight: float32 (n, k). bias: float32 (n,) or None. precision: of the stored weight."""
        self.shape, self._bias = weight.shape, bias
        kernels, is_int16 = mimi_kernels(), precision is Precision.INT16
        self.panels: Panels | None = None  # None without SIMD
        if kernels is not None:
            self.panels = kernels.pack(np.ascontiguousarray(weight), bias, int16=is_int16)
        else:
            self._dense = _rounded(weight) if is_int16 else weight

    def __call__(
        self, x: Float32, residual: Float32 | None = None, activation: Activation = Activation.NONE
    ) -> Float32:
        """Compute activation(x @ W.T + bias + residual): float32 (m, k) -> (m, n), with residual (m, n).

        The rows of x may overlap, as the windows of a convolution do.
        """
        kernels = mimi_kernels()
        if kernels is not None and self.panels is not None:
            return kernels.product(x, self.panels, residual, activation)
        y = np.ascontiguousarray(x) @ self._dense.T
        if self._bias is not None:
            y += self._bias
        if residual is not None:
            y += residual
        return activate(y, activation)


def _rounded(weight: Float32) -> Float32:
    """Round weight (n, k) to int16 and convert it back."""
    scale = np.abs(weight).max(axis=1, keepdims=True) / INT16_LIMIT
    return np.rint(weight / np.where(scale > 0, scale, 1)) * scale
