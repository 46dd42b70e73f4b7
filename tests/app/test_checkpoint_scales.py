"""The scale search compared with ggml's rule, by quantization error."""

from __future__ import annotations

import numpy as np
import pytest

from tympan.arrays import Float32
from tympan.checkpoint import scales
from tympan.errors import BadModel
from tympan.weights import q4
from tympan.weights.q4 import Q4Matrix

RNG = np.random.default_rng(9)


def block_errors(quantized: Q4Matrix, matrix: Float32) -> Float32:
    return np.square(quantized.dequantize() - matrix).reshape(-1, 32).sum(axis=1)


def test_error_on_normal_weights_is_ten_percent_lower() -> None:
    matrix = RNG.normal(size=(512, 1024)).astype(np.float32)
    ratio = block_errors(scales.quantize(matrix), matrix).mean() / block_errors(q4.quantize(matrix), matrix).mean()
    assert ratio < 0.9, "measured: 0.886"


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1.0, 1e2])
def test_no_block_gets_worse(spread: float) -> None:
    matrix = (RNG.standard_t(2, size=(200, 96)) * spread).astype(np.float32)
    better, plain = block_errors(scales.quantize(matrix), matrix), block_errors(q4.quantize(matrix), matrix)
    assert (better <= plain * (1 + 1e-5)).all()
    assert (better < plain).mean() > 0.5


def test_partial_blocks_and_zero_blocks() -> None:
    matrix = RNG.normal(size=(5, 70)).astype(np.float32)
    matrix[2] = 0
    quantized = scales.quantize(matrix)
    assert quantized.shape == (5, 70)
    assert np.abs(quantized.dequantize() - matrix).max() < 0.5
    assert not quantized.dequantize()[2].any()


def test_quantized_values_are_kept() -> None:
    stored = q4.quantize(RNG.normal(size=(64, 128)).astype(np.float32)).dequantize()
    assert np.allclose(scales.quantize(stored).dequantize(), stored, rtol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_value_without_a_scale_is_rejected(value: float) -> None:
    matrix = np.ones((2, 64), np.float32)
    matrix[1, 3] = value
    with pytest.raises(BadModel):
        scales.quantize(matrix)
