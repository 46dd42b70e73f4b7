"""The Q4 layout and rounding rule, against an element-by-element implementation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tympan.weights.blocks import BLOCK
from tympan.weights.q4 import Q4Matrix, quantize


def quantize_block(block: NDArray[np.float32]) -> tuple[np.float16, list[int]]:
    """The rule of ggml's quantize_row_q4_0_ref for 32 values, in float32 as there."""
    largest = np.float32(0)
    for value in block:
        if abs(value) > abs(largest):
            largest = value
    scale = largest / np.float32(-8)
    inverse = np.float32(1) / scale if scale else np.float32(0)
    return np.float16(scale), [min(15, int(value * inverse + np.float32(8.5))) for value in block]


def random_matrix(n: int, k: int) -> NDArray[np.float32]:
    return np.random.default_rng(n * k).normal(size=(n, k)).astype(np.float32)


def nibbles(matrix: Q4Matrix) -> NDArray[np.uint8]:
    return np.concatenate([matrix.blocks & 15, matrix.blocks >> 4], axis=-1)


def test_quantize_follows_the_rule() -> None:
    matrix = random_matrix(40, 96)
    matrix[0, :32] = 0
    matrix[1, :32] = np.tile([1, -1], 16)  # equal magnitudes: the first one decides
    matrix[2, :32] = np.tile([-1, 1], 16)
    matrix[3, :32] = np.arange(32) / 2  # halves lie between two nibbles
    quantized = quantize(matrix)
    for row in range(40):
        for block in range(3):
            scale, expected = quantize_block(matrix[row, block * BLOCK : (block + 1) * BLOCK])
            assert quantized.scale[row, block] == scale
            assert nibbles(quantized)[row, block].tolist() == expected


def test_quantizing_many_rows_equals_quantizing_each() -> None:
    matrix = random_matrix(300, 2048)  # more than one chunk
    whole, last = quantize(matrix), quantize(matrix[-1:])
    assert np.array_equal(whole.blocks[-1:], last.blocks)
    assert np.array_equal(whole.scale[-1:], last.scale)


@pytest.mark.parametrize("k", [32, 64, 33, 1, 880])
def test_round_trip_error(k: int) -> None:
    matrix = random_matrix(50, k)
    quantized = quantize(matrix)
    steps = np.repeat(np.abs(quantized.scale.astype(np.float32)), BLOCK, axis=1)[:, :k]
    error = np.abs(quantized.dequantize() - matrix) / steps
    # Half a step, plus 8 times the rounding of the scale to float16. Nibble 15, clipped from 16, may be a step off.
    is_cut = (nibbles(quantized) == 15).reshape(50, -1)[:, :k]
    assert error[~is_cut].max() <= 0.5 + 8 * 2**-11
    assert error.max() <= 1 + 8 * 2**-11
    assert quantized.shape == matrix.shape


def test_largest_element_of_a_block_is_kept() -> None:
    matrix = np.zeros((1, 32), np.float32)
    matrix[0, 5], matrix[0, 20] = -4, 3.5
    restored = quantize(matrix).dequantize()
    assert restored[0, 5] == -4
    assert restored[0, 20] == 3.5


def test_a_block_too_small_for_float16_is_zero() -> None:
    quantized = quantize(np.full((1, 32), 1e-8, np.float32))
    assert not quantized.scale.any()
    assert (nibbles(quantized) == 8).all()


def test_gguf_block_by_hand() -> None:
    scale = bytes([0x00, 0xB8])  # -0.5 as float16
    block = np.frombuffer(scale + bytes(range(0x10, 0x20)), np.uint8).reshape(1, 1, 18)
    values = Q4Matrix.from_gguf(block, 32).dequantize()[0]
    assert values[:16].tolist() == [-0.5 * (low - 8) for low in range(16)]
    assert values[16:].tolist() == [-0.5 * (1 - 8)] * 16
