"""The Q8 layout and rounding rule, against an element-by-element implementation."""

from __future__ import annotations

import numpy as np
import pytest

from tympan.arrays import Float32
from tympan.weights.blocks import BLOCK
from tympan.weights.q8 import Q8Matrix, quantize

SUBNORMAL_ERROR = 2**-18  # error caused by rounding a subnormal float16 scale


def random_matrix(n: int, k: int) -> Float32:
    return np.random.default_rng(n * k).normal(size=(n, k)).astype(np.float32)


def test_quantize_follows_the_rule() -> None:
    matrix = random_matrix(20, 96)
    matrix[0, :32] = 0
    quantized = quantize(matrix)
    for row in range(20):
        for block in range(3):
            values = matrix[row, block * BLOCK : (block + 1) * BLOCK]
            scale = np.float16(max(map(abs, values)) / np.float32(127))
            expected = [round(float(value / np.float32(scale))) if scale else 0 for value in values]
            assert quantized.scale[row, block] == scale
            assert quantized.blocks[row, block].tolist() == np.clip(expected, -127, 127).tolist()


@pytest.mark.parametrize("k", [32, 64, 33, 1, 880])
@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-3, 1.0, 1e5])
def test_every_value_is_within_half_a_scale(k: int, size: float) -> None:
    matrix = random_matrix(50, k) * np.float32(size)
    quantized = quantize(matrix)
    half_scale = np.repeat(quantized.scale.astype(np.float32), BLOCK, axis=1)[:, :k] / 2
    error = np.abs(quantized.dequantize() - matrix)
    assert (error <= np.maximum(half_scale * (1 + 1e-5), SUBNORMAL_ERROR)).all()
    assert quantized.shape == matrix.shape


def test_gguf_block_by_hand() -> None:
    scale = bytes([0x00, 0xB8])  # -0.5 as float16
    block = np.frombuffer(scale + bytes(range(0x70, 0x90)), np.uint8).reshape(1, 1, 34)
    values = Q8Matrix.from_gguf(block, 32).dequantize()[0]
    assert values.tolist() == [-0.5 * q for q in (*range(0x70, 0x80), *range(-0x80, -0x70))]
