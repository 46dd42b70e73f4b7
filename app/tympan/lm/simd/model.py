"""The transformer's weights packed for the SIMD kernels, and the sequence of kernel calls of a step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import LMConfig
from tympan.lm.decoding import initial
from tympan.lm.simd.kernels import Call, KVCache, Q4Panels, SimdKernels
from tympan.lm.terms import TermTrie
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.weights.blocks import BlockMatrix, n_blocks_of
from tympan.weights.matrix import BLOCKS, Matrix, dense
from tympan.weights.q4 import Q4Matrix

PackedMatrix: TypeAlias = Q4Panels | Float32  # a matrix in the form that `SimdKernels.matvec` expects

ALIGNMENT = 64  # bytes
READ_OVERHEAD = 2.0  # temporary memory for reading a matrix from its file, as a multiple of its size


class Arena:
    """One allocation for all block matrices of a model.

    WebAssembly memory that grows once per matrix ends up to 96 MB larger than needed. The allocation leaves space
    below itself for the temporary memory that reading takes.
    """

    def __init__(self, weights: LMWeights) -> None:
        matrices = [matrix for matrix in (*weights.tables, *weights.matrices()) if isinstance(matrix, BlockMatrix)]
        largest = max((sum(matrix.n_bytes) for matrix in matrices), default=0)
        reserved = np.empty(int(READ_OVERHEAD * largest), np.uint8)
        n_bytes = sum(SimdKernels.packed_bytes(matrix) + 2 * ALIGNMENT for matrix in matrices)
        self._memory, self._n_used = np.empty(n_bytes, np.uint8), 0
        del reserved

    def allocate(self, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
        """An uninitialized array of this shape."""
        begin = self._n_used
        end = begin + prod(shape) * np.dtype(dtype).itemsize
        self._n_used = -(-end // ALIGNMENT) * ALIGNMENT
        return self._memory[begin:end].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Tables:
    """The embedding tables of one format, concatenated."""

    table: Matrix  # (sum of all rows, d)
    codebooks: Int32  # the codebooks whose tables these are
    first_rows: Int32  # the first row of each codebook's table
    text_row: int  # the first row of the text table; -1 if it has another format

    @classmethod
    def load(cls, arena: Arena, weights: LMWeights) -> tuple[Tables, ...]:
        """Load one group of tables per format. Raises BadModel."""
        return tuple(
            cls(_stack(arena, group.tables), np.array(group.codebooks, np.int32), group.first_rows, group.text_row)
            for group in weights.table_groups
        )

    @property
    def n_rows(self) -> int:
        """The number of rows summed in a step."""
        return len(self.codebooks) + (self.text_row >= 0)

    def write_rows(self, rows: Int32, codes: Int32, text: int) -> None:
        """Write the row indices of a step to rows (n_rows,): those of the codes (K,) and of the text token."""
        rows[: len(self.codebooks)] = self.first_rows + codes[self.codebooks]
        if self.text_row >= 0:
            rows[-1] = self.text_row + text


@dataclass(frozen=True)
class Layer:
    """A layer's weights in the form that the kernels expect."""

    norm1: Float32
    in_proj: PackedMatrix
    out_proj: PackedMatrix
    norm2: Float32
    linear_in: PackedMatrix
    linear_out: PackedMatrix

    @classmethod
    def load(cls, kernels: SimdKernels, arena: Arena, weights: LayerWeights) -> Layer:
        return cls(
            norm1=weights.norm1,
            in_proj=_packed(kernels, arena, weights.in_proj),
            out_proj=_packed(kernels, arena, weights.out_proj),
            norm2=weights.norm2,
            linear_in=_packed(kernels, arena, weights.linear_in),
            linear_out=_packed(kernels, arena, weights.linear_out),
        )


@dataclass(frozen=True)
class Inputs:
    """The inputs of a step, written before its kernels run."""

    rows: tuple[Int32, ...]  # row indices, one array per group of tables
    place: Int32  # (2,): the KV cache slot to write, and the number of filled slots including it
    cos: Float32  # (D / 2,)
    sin: Float32  # (D / 2,)


@dataclass(frozen=True)
class Outputs:
    """The outputs of a step."""

    logits: Float32  # (V,)
    head_logits: Float32  # (n_extra_heads * width,)
    decoded: NDArray[Any]  # (1,) of `decoding.DECODED`: that of the previous step, then of this one
    total: Float32  # (1,), see `SimdKernels.decode`


@dataclass(frozen=True)
class Model:
    """All weights, packed. Read only: the state of a stream is separate."""

    config: LMConfig
    hidden: int  # h
    tables: tuple[Tables, ...]
    layers: tuple[Layer, ...]
    out_norm: Float32
    text_linear: PackedMatrix
    extra_heads: Float32  # (n_extra_heads * width, d)

    @classmethod
    async def load(cls, kernels: SimdKernels, config: LMConfig, weights: LMWeights) -> Model:
        """Read and pack the weights one matrix at a time, to limit peak memory. Raises BadModel."""
        arena, layers = Arena(weights), []
        for layer in weights.layers:
            layers.append(Layer.load(kernels, arena, layer))
            await asyncio.sleep(0)  # lets a cancellation through
        no_heads = np.empty((0, config.transformer.d), np.float32)
        return cls(
            config=config,
            hidden=weights.hidden,
            tables=Tables.load(arena, weights),
            layers=tuple(layers),
            out_norm=weights.out_norm,
            text_linear=_packed(kernels, arena, weights.text_linear),
            extra_heads=np.concatenate([no_heads, *weights.extra_heads]),
        )

    def new_inputs(self) -> Inputs:
        n_pairs = self.config.transformer.head_width // 2
        rows = tuple(np.zeros(group.n_rows, np.int32) for group in self.tables)
        return Inputs(rows, np.zeros(2, np.int32), np.zeros(n_pairs, np.float32), np.zeros(n_pairs, np.float32))

    def new_outputs(self) -> Outputs:
        logits, head_logits = (np.zeros(n, np.float32) for n in (self.config.text_card, len(self.extra_heads)))
        return Outputs(logits, head_logits, initial(self.config.text_card), np.zeros(1, np.float32))

    def new_kv_caches(self) -> tuple[KVCache, ...]:
        """Empty KV caches, one per layer."""
        sizes = self.config.transformer
        return KVCache.zeros(len(self.layers), sizes.n_heads, sizes.context, sizes.head_width)

    def forward(
        self,
        kernels: SimdKernels,
        inputs: Inputs,
        kv_caches: Sequence[KVCache],
        outputs: Outputs,
        terms: TermTrie,
    ) -> Iterator[Call]:
        """The kernel calls of one step, in order."""
        d = self.config.transformer.d
        x, normed, attended, qkv = (np.zeros(n, np.float32) for n in (d, d, d, 3 * d))
        inner, hidden = np.zeros(2 * self.hidden, np.float32), np.zeros(self.hidden, np.float32)
        for i, (group, rows) in enumerate(zip(self.tables, inputs.rows, strict=True)):
            yield kernels.embed_sum(x, group.table, rows, accumulate=i > 0)
        for layer, kv_cache in zip(self.layers, kv_caches, strict=True):
            yield kernels.rms_norm(normed, x, layer.norm1)
            yield kernels.matvec(qkv, layer.in_proj, normed)
            yield kernels.attention(attended, qkv, kv_cache, inputs.place, inputs.cos, inputs.sin)
            yield kernels.matvec(x, layer.out_proj, attended, accumulate=True)
            yield kernels.rms_norm(normed, x, layer.norm2)
            yield kernels.matvec(inner, layer.linear_in, normed)
            yield kernels.gated_silu(hidden, inner)
            yield kernels.matvec(x, layer.linear_out, hidden, accumulate=True)
        yield kernels.rms_norm(normed, x, self.out_norm)
        yield kernels.matvec(outputs.logits, self.text_linear, normed)
        yield kernels.matvec(outputs.head_logits, self.extra_heads, normed)
        yield kernels.decode(outputs.decoded, outputs.total, outputs.logits, terms)


def _packed(kernels: SimdKernels, arena: Arena, matrix: Matrix) -> PackedMatrix:
    if isinstance(matrix, Q4Matrix):
        return kernels.pack(matrix, arena.allocate(SimdKernels.packed_shape(*matrix.shape)))
    return dense(matrix)  # Q8 too: only embedding tables use it, so there is no kernel for it


def _stack(arena: Arena, tables: Sequence[Matrix]) -> Matrix:
    """Concatenate tables of one format, reading one at a time."""
    in_blocks = [table for table in tables if isinstance(table, BlockMatrix)]
    if not in_blocks:
        return np.concatenate([dense(table) for table in tables])
    n, k, kind = sum(table.shape[0] for table in tables), tables[0].shape[1], BLOCKS[in_blocks[0].format]
    blocks = arena.allocate((n, n_blocks_of(k), kind.block_bytes), kind.dtype)
    scale = arena.allocate((n, n_blocks_of(k)), np.float16)
    first = 0
    for table in in_blocks:
        rows = slice(first, first + table.shape[0])
        blocks[rows], scale[rows] = table.blocks, table.scale
        first = rows.stop
    return kind(blocks, scale, k)
