"""The activation functions of Mimi. With SIMD, a matrix product applies them to its result: see `linear.Linear`."""

from __future__ import annotations

from math import sqrt

import numpy as np

from tympan.arrays import Float32
from tympan.mimi.erf import erf
from tympan.mimi.kernels import Activation, mimi_kernels


def elu(x: Float32) -> Float32:
    """Compute ELU, x where x > 0 and exp(x) - 1 elsewhere: float32, same shape."""
    kernels = mimi_kernels()
    if kernels is not None:
        return kernels.elu(x)
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))


def gelu(x: Float32) -> Float32:
    """Compute the exact GELU, x * (1 + erf(x / sqrt 2)) / 2: float32, same shape."""
    return np.float32(0.5) * x * (1 + erf(x * np.float32(sqrt(0.5))))


def activate(x: Float32, activation: Activation) -> Float32:
    """Apply an activation by name: float32, same shape."""
    if activation is Activation.ELU:
        return elu(x)
    return gelu(x) if activation is Activation.GELU else x
