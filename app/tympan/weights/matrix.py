"""A weight matrix in any supported storage format, and functions that work on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BlockFormat, BlockMatrix, LazyBlockMatrix
from tympan.weights.q4 import LazyQ4Matrix, Q4Matrix
from tympan.weights.q8 import LazyQ8Matrix, Q8Matrix

Matrix: TypeAlias = Float32 | BlockMatrix
MatrixFormat: TypeAlias = BlockFormat | Literal["f32"]

BLOCKS: dict[BlockFormat, type[BlockMatrix]] = {"q4": Q4Matrix, "q8": Q8Matrix}
LAZY_BLOCKS: dict[BlockFormat, type[LazyBlockMatrix]] = {"q4": LazyQ4Matrix, "q8": LazyQ8Matrix}
FORMATS: tuple[MatrixFormat, ...] = (*BLOCKS, "f32")


def format_of(matrix: Matrix) -> MatrixFormat:
    """Storage format of the matrix. Reads no data."""
    return matrix.format if isinstance(matrix, BlockMatrix) else "f32"


def n_bytes_of(matrix: Matrix) -> int:
    """Size of the matrix in its storage format. Reads no data."""
    return sum(matrix.n_bytes) if isinstance(matrix, BlockMatrix) else matrix.nbytes


def in_memory(matrix: Matrix) -> Matrix:
    """Read a lazy matrix into memory, in its storage format. Raises BadModel."""
    if isinstance(matrix, BlockMatrix):
        return BLOCKS[matrix.format](matrix.blocks, matrix.scale, matrix.k)
    return matrix


def dense(matrix: Matrix) -> Float32:
    """The whole matrix in float32: (n, k)."""
    return matrix.dequantize() if isinstance(matrix, BlockMatrix) else matrix


def rows_of(matrix: Matrix, index: Sequence[int | np.integer] | NDArray[np.integer]) -> Float32:
    """The rows `index` in float32: (len(index), k)."""
    index = np.asarray(index, np.int32)
    return matrix.rows(index) if isinstance(matrix, BlockMatrix) else matrix[index]
