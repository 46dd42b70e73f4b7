"""Behaviour shared by all block formats: rounding, rows, GGUF, lazy matrices, and rejected input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel
from tympan.weights import q4, q8
from tympan.weights.blocks import BlockFormat, BlockMatrix
from tympan.weights.matrix import BLOCKS, LAZY_BLOCKS, dense, format_of, in_memory, n_bytes_of, rows_of
from tympan.weights.tensors import Tensors

Quantize: TypeAlias = Callable[[Float32], BlockMatrix]

QUANTIZE: dict[BlockFormat, Quantize] = {"q4": q4.quantize, "q8": q8.quantize}
ALL_FORMATS = pytest.mark.parametrize("block_format", BLOCKS)


def random_matrix(n: int, k: int) -> Float32:
    return np.random.default_rng(n * k).normal(size=(n, k)).astype(np.float32)


def quantized(block_format: BlockFormat, n: int, k: int) -> BlockMatrix:
    return QUANTIZE[block_format](random_matrix(n, k))


def parts_of(matrix: BlockMatrix) -> dict[str, NDArray[Any]]:
    return {matrix.format: matrix.blocks, "scale": matrix.scale}


@ALL_FORMATS
def test_quantizing_twice_changes_nothing(block_format: BlockFormat) -> None:
    once = quantized(block_format, 20, 64).dequantize()
    assert np.array_equal(QUANTIZE[block_format](once).dequantize(), once)


@ALL_FORMATS
def test_padding_dequantizes_to_zero(block_format: BlockFormat) -> None:
    matrix = quantized(block_format, 3, 40)
    assert not type(matrix)(matrix.blocks, matrix.scale, 64).dequantize()[:, 40:].any()


@ALL_FORMATS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e7])
def test_value_beyond_float16_scale_is_rejected(block_format: BlockFormat, value: float) -> None:
    matrix = random_matrix(4, 64)
    matrix[2, 40] = value
    with pytest.raises(BadModel, match="not finite"):
        QUANTIZE[block_format](matrix)


@ALL_FORMATS
def test_gguf_round_trip(block_format: BlockFormat) -> None:
    matrix = quantized(block_format, 7, 100)
    blocks = matrix.to_gguf()
    assert blocks.shape == (7, 4, 2 + matrix.block_bytes)
    restored = type(matrix).from_gguf(blocks, 100)
    assert np.array_equal(restored.blocks, matrix.blocks)
    assert np.array_equal(restored.scale, matrix.scale)
    with pytest.raises(BadModel):
        type(matrix).from_gguf(blocks[..., 1:], 100)


@ALL_FORMATS
def test_rows_equal_the_dequantized_matrix(block_format: BlockFormat) -> None:
    matrix = quantized(block_format, 9, 70)
    whole = matrix.dequantize()
    assert np.array_equal(matrix.rows(3), whole[3])
    assert np.array_equal(matrix.rows(np.array([8, 0, 8])), whole[[8, 0, 8]])


@ALL_FORMATS
def test_wrong_layout_is_rejected(block_format: BlockFormat) -> None:
    kind = BLOCKS[block_format]
    blocks: NDArray[Any] = np.zeros((2, 3, kind.block_bytes), kind.dtype)
    scale: NDArray[Any] = np.zeros((2, 3), np.float16)
    kind(blocks, scale, 65)
    invalid = [
        (blocks, scale, 64),
        (blocks, scale, 97),
        (blocks, scale[:1], 96),
        (blocks, scale.astype(np.float32), 96),
        (blocks.astype(np.uint16), scale, 96),
        (blocks[0, 0, 0], scale, 96),
        (blocks, scale + np.float16(np.inf), 96),
    ]
    for case in invalid:
        with pytest.raises(BadModel):
            kind(*case)


@ALL_FORMATS
def test_lazy_matrix_reads_on_access(block_format: BlockFormat) -> None:
    matrix, reads = quantized(block_format, 6, 100), list[str]()

    def read(part: str) -> NDArray[Any]:
        reads.append(part)
        return parts_of(matrix)[part]

    stored = LAZY_BLOCKS[block_format](6, 100, read)
    assert (stored.shape, stored.n_bytes) == ((6, 100), (matrix.blocks.nbytes, matrix.scale.nbytes))
    assert (stored.n_bytes, format_of(stored), n_bytes_of(stored)) == (matrix.n_bytes, block_format, n_bytes_of(matrix))
    assert reads == []
    assert np.array_equal(stored.dequantize(), matrix.dequantize())
    assert reads == [block_format, "scale"]
    loaded = in_memory(stored)
    assert np.array_equal(rows_of(loaded, [5, 0]), matrix.dequantize()[[5, 0]])
    assert len(reads) == 4, "a matrix in memory is not read again"


@ALL_FORMATS
def test_lazy_matrix_rejects_wrong_part(block_format: BlockFormat) -> None:
    parts = parts_of(quantized(block_format, 6, 100))
    invalid: list[tuple[str, NDArray[Any]]] = [
        ("blocks", parts[block_format][:, 1:]),
        ("blocks", parts[block_format].astype(np.int16)),
        ("scale", parts["scale"][:, 1:]),
        ("scale", parts["scale"].astype(np.float32)),
        ("scale", parts["scale"] * np.float16(np.nan)),
    ]
    for part, array in invalid:
        with pytest.raises(BadModel):
            getattr(LAZY_BLOCKS[block_format](6, 100, {block_format: array, "scale": array}.__getitem__), part)


@ALL_FORMATS
def test_checkpoint_stores_two_tensors_per_matrix(block_format: BlockFormat) -> None:
    matrix = quantized(block_format, 6, 100)
    tensors = Tensors({f"w.{part}": array for part, array in parts_of(matrix).items()})
    assert tensors.n_rows("w") == 6
    assert format_of(tensors.matrix("w", 6, 100)) == block_format
    assert np.array_equal(dense(tensors.matrix("other", 6, 100, alias="w")), matrix.dequantize())
    with pytest.raises(BadModel, match=r"w has shape \(6, 100\), \(7, 100\) expected"):
        tensors.matrix("w", 7, 100)
    with pytest.raises(BadModel, match=r"w\.scale is missing"):
        Tensors({f"w.{block_format}": matrix.blocks}).matrix("w", 6, 100)


def test_float32_matrix_is_returned_unchanged() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert (format_of(matrix), n_bytes_of(matrix)) == ("f32", 24)
    assert in_memory(matrix) is dense(matrix) is matrix
    assert rows_of(matrix, [1, 1]).tolist() == [[3, 4, 5]] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vector_with_non_finite_value_is_rejected(value: float) -> None:
    tensors = Tensors({"good": np.ones((1, 1, 4), np.float16), "bad": np.array([1, value], np.float32)})
    assert tensors.vector("good", 4).tolist() == [1] * 4
    with pytest.raises(BadModel, match="the tensor bad holds a value that is not finite"):
        tensors.vector("bad", 2)
