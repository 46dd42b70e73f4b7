"""Array types, and the functions that all numpy stages share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Int32: TypeAlias = NDArray[np.int32]
Bool: TypeAlias = NDArray[np.bool_]


def linear(x: Float32, weight: Float32) -> Float32:
    """x (..., k) @ weight.T for weight (n, k): float32 (..., n)."""
    return x @ weight.T


def softmax(scores: Float32) -> Float32:
    """Softmax over the last axis: float32, same shape."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
