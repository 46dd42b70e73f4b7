"""A matrix in any of the formats that a model may have it in, and what is looked up by format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.weights.blocks import BlockFormat, BlockMatrix, StoredBlocks
from tympan.weights.q4 import Q4Matrix, StoredQ4Matrix
from tympan.weights.q8 import Q8Matrix, StoredQ8Matrix

Matrix: TypeAlias = Float32 | BlockMatrix
MatrixFormat: TypeAlias = BlockFormat | Literal["f32"]

BLOCKS: dict[BlockFormat, type[BlockMatrix]] = {"q4": Q4Matrix, "q8": Q8Matrix}
STORED: dict[BlockFormat, type[StoredBlocks]] = {"q4": StoredQ4Matrix, "q8": StoredQ8Matrix}
FORMATS: tuple[MatrixFormat, ...] = (*BLOCKS, "f32")


def format_of(matrix: Matrix) -> MatrixFormat:
    """What it is stored in; nothing is read for it."""
    return matrix.format if isinstance(matrix, BlockMatrix) else "f32"


def n_bytes_of(matrix: Matrix) -> int:
    """How much it takes as it is stored; nothing is read for it."""
    return sum(matrix.n_bytes) if isinstance(matrix, BlockMatrix) else matrix.nbytes


def loaded(matrix: Matrix) -> Matrix:
    """The same in memory, in the format it is stored in. Raises BadModel."""
    if isinstance(matrix, BlockMatrix):
        return BLOCKS[matrix.format](matrix.blocks, matrix.scale, matrix.k)
    return matrix


def dense(matrix: Matrix) -> Float32:
    """The whole of it in float32: (n, k)."""
    return matrix.dequantize() if isinstance(matrix, BlockMatrix) else matrix


def rows_of(matrix: Matrix, index: Sequence[int | np.integer] | NDArray[np.integer]) -> Float32:
    """These rows of it in float32: (len(index), k)."""
    index = np.asarray(index, np.int32)
    return matrix.rows(index) if isinstance(matrix, BlockMatrix) else matrix[index]
