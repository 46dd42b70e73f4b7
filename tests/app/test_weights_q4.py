"""The Q4 layout and the rounding rule, against their definitions written out element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tympan.errors import BadModel
from tympan.weights.q4 import BLOCK, Q4Matrix, StoredQ4Matrix, from_gguf, quantize, to_gguf


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
    return np.concatenate([matrix.q4 & 15, matrix.q4 >> 4], axis=-1)


def test_quantize_follows_the_rule() -> None:
    matrix = random_matrix(40, 96)
    matrix[0, :32] = 0
    matrix[1, :32] = np.tile([1, -1], 16)  # as large: the first one decides
    matrix[2, :32] = np.tile([-1, 1], 16)
    matrix[3, :32] = np.arange(32) / 2  # halves fall between two nibbles
    quantized = quantize(matrix)
    for row in range(40):
        for block in range(3):
            scale, expected = quantize_block(matrix[row, block * BLOCK : (block + 1) * BLOCK])
            assert quantized.scale[row, block] == scale
            assert nibbles(quantized)[row, block].tolist() == expected


def test_quantizing_many_rows_equals_quantizing_each() -> None:
    matrix = random_matrix(300, 2048)  # more than one chunk
    whole, last = quantize(matrix), quantize(matrix[-1:])
    assert np.array_equal(whole.q4[-1:], last.q4)
    assert np.array_equal(whole.scale[-1:], last.scale)


@pytest.mark.parametrize("k", [32, 64, 33, 1, 880])
def test_round_trip_error(k: int) -> None:
    matrix = random_matrix(50, k)
    quantized = quantize(matrix)
    steps = np.repeat(np.abs(quantized.scale.astype(np.float32)), BLOCK, axis=1)[:, :k]
    error = np.abs(quantized.dequantize() - matrix) / steps
    # Half a step, plus 8 times the rounding of the scale to float16. Only nibble 15, cut off from 16, is a step away.
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


def test_quantizing_twice_changes_nothing() -> None:
    once = quantize(random_matrix(20, 64))
    twice = quantize(once.dequantize())
    assert np.array_equal(once.dequantize(), twice.dequantize())


def test_padding_is_zero() -> None:
    quantized = quantize(random_matrix(3, 40))
    padding = Q4Matrix(quantized.q4, quantized.scale, 64).dequantize()[:, 40:]
    assert not padding.any()


def test_a_block_too_small_for_float16_is_zero() -> None:
    quantized = quantize(np.full((1, 32), 1e-8, np.float32))
    assert not quantized.scale.any()
    assert (nibbles(quantized) == 8).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_quantize_refuses_what_has_no_scale(value: float) -> None:
    matrix = random_matrix(4, 64)
    matrix[2, 40] = value
    with pytest.raises(BadModel, match="not finite"):
        quantize(matrix)


def test_gguf_block_by_hand() -> None:
    scale = bytes([0x00, 0xB8])  # -0.5 as float16
    block = np.frombuffer(scale + bytes(range(0x10, 0x20)), np.uint8).reshape(1, 1, 18)
    values = from_gguf(block, 32).dequantize()[0]
    assert values[:16].tolist() == [-0.5 * (low - 8) for low in range(16)]
    assert values[16:].tolist() == [-0.5 * (1 - 8)] * 16


def test_gguf_round_trip() -> None:
    quantized = quantize(random_matrix(7, 100))
    blocks = to_gguf(quantized)
    assert blocks.shape == (7, 4, 18)
    restored = from_gguf(blocks, 100)
    assert np.array_equal(restored.q4, quantized.q4)
    assert np.array_equal(restored.scale, quantized.scale)


def test_rows_equal_the_dequantized_matrix() -> None:
    quantized = quantize(random_matrix(9, 70))
    whole = quantized.dequantize()
    assert np.array_equal(quantized.rows(3), whole[3])
    assert np.array_equal(quantized.rows(np.array([8, 0, 8])), whole[[8, 0, 8]])


def test_layout_that_does_not_fit_is_refused() -> None:
    q4: NDArray[Any] = np.zeros((2, 3, 16), np.uint8)
    scale: NDArray[Any] = np.zeros((2, 3), np.float16)
    Q4Matrix(q4, scale, 65)
    unfit = [
        (q4, scale, 64),
        (q4, scale, 97),
        (q4, scale[:1], 96),
        (q4, scale.astype(np.float32), 96),
        (q4.astype(np.int8), scale, 96),
        (q4, scale + np.float16(np.inf), 96),
    ]
    for case in unfit:
        with pytest.raises(BadModel):
            Q4Matrix(*case)
    with pytest.raises(BadModel):
        from_gguf(np.zeros((2, 3, 17), np.uint8), 96)


def test_a_stored_matrix_is_read_when_it_is_needed() -> None:
    quantized = quantize(random_matrix(6, 100))
    parts: dict[str, NDArray[Any]] = {"q4": quantized.q4, "scale": quantized.scale}
    asked: list[str] = []

    def read(part: str) -> NDArray[Any]:
        asked.append(part)
        return parts[part]

    stored = StoredQ4Matrix(6, 100, read)
    assert (stored.shape, stored.n_bytes) == ((6, 100), (quantized.q4.nbytes, quantized.scale.nbytes))
    assert stored.n_bytes == quantized.n_bytes
    assert asked == []
    assert np.array_equal(stored.dequantize(), quantized.dequantize())
    assert asked == ["q4", "scale"]


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("q4", np.zeros((6, 3, 16), np.uint8)),
        ("q4", np.zeros((6, 4, 16), np.int8)),
        ("scale", np.zeros((6, 3), np.float16)),
        ("scale", np.zeros((6, 4), np.float32)),
        ("scale", np.full((6, 4), np.nan, np.float16)),
    ],
)
def test_a_stored_part_that_does_not_fit_is_refused(part: str, array: NDArray[Any]) -> None:
    with pytest.raises(BadModel):
        getattr(StoredQ4Matrix(6, 100, lambda _: array), part)
