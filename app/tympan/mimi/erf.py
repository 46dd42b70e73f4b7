"""The error function in float32, which numpy lacks.

An odd rational approximation on [-4, 4]; beyond that, erf is 1 in float32. Maximum error 2e-7.
Source of the coefficients: tensorflow/tensorflow tensorflow/compiler/xla/client/lib/math.cc, ErfImpl32 (from Eigen).
"""

from __future__ import annotations

import numpy as np

from tympan.arrays import Float32

# Coefficients of x**2, highest power first.
_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def erf(x: Float32) -> Float32:
    """Compute the error function of every element: float32, same shape, in [-1, 1]."""
    x = np.clip(x, -4, 4)
    square = x * x
    return np.clip(x * _polynomial(_NUMERATOR, square) / _polynomial(_DENOMINATOR, square), -1, 1)


def _polynomial(coefficients: tuple[float, ...], x: Float32) -> Float32:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + np.float32(coefficient)
    return value
