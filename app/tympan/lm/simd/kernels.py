"""The functions of lm.c on numpy arrays, each bound to its arrays once and called once a step.

Arrays are C-contiguous float32 where nothing else is said; what the C code takes for granted is asserted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.wasm.library import Library, address, check
from tympan.weights.blocks import BLOCK, SCALE_BYTES, BlockMatrix, n_blocks_of
from tympan.weights.matrix import Matrix
from tympan.weights.q4 import Q4Matrix

# Of these numbers lm.c has the same.
PANEL = 16  # rows whose blocks lie side by side
ACTIVATIONS_BYTES = 8 + 2 * BLOCK  # of a block of rounded activations
WIDTH_STEP, SLOT_STEP = 8, 4  # a ring's keys and values are multiples of these wide and many

_ARGUMENTS = {  # of each function: p a pointer, i an int
    "pack_q4": "pppii",
    "matvec_q4": "ppppiii",
    "matvec_f32": "pppiii",
    "embed_sum_q4": "ppppiii",
    "embed_sum_q8": "ppppiii",
    "embed_sum_f32": "pppiii",
    "rms_norm_f32": "pppi",
    "gated_silu_f32": "ppi",
    "attention_i16": "pppppppppppppiii",
}


@dataclass(frozen=True)
class Q4Panels:
    """A matrix (n, k) of Q4 blocks, packed for `matvec`."""

    panels: NDArray[np.uint8]  # (ceil(n / PANEL), ceil(k / 32), bytes of PANEL blocks)
    n: int
    k: int


@dataclass(frozen=True)
class KVCache:
    """The last S keys and values of H heads, D wide, in int16 with a scale each. S and D are filled up with zeros."""

    keys: NDArray[np.int16]  # (H, S, D)
    key_scale: Float32  # (H, S)
    values: NDArray[np.int16]  # (H, S, D)
    value_scale: Float32  # (H, S)
    width: int  # D, before it was filled up

    @classmethod
    def several(cls, n: int, n_heads: int, n_slots: int, width: int) -> tuple[KVCache, ...]:
        """n empty rings, in one piece of memory."""
        slots = (n_heads, -(-n_slots // SLOT_STEP) * SLOT_STEP)
        keys, values = np.zeros((2, n, *slots, -(-width // WIDTH_STEP) * WIDTH_STEP), np.int16)
        key_scale, value_scale = np.zeros((2, n, *slots), np.float32)
        return tuple(cls(keys[i], key_scale[i], values[i], value_scale[i], width) for i in range(n))


@dataclass(frozen=True)
class Call:
    """A kernel, the addresses of its arrays, and the arrays, which live as long as it does."""

    function: Callable[..., None]
    arguments: tuple[int, ...]
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def bind(cls, function: Callable[..., None], *arguments: NDArray[Any] | int) -> Call:
        arrays = tuple(argument for argument in arguments if isinstance(argument, np.ndarray))
        return cls(function, tuple(a if isinstance(a, int) else address(a) for a in arguments), arrays)

    def __call__(self) -> None:
        self.function(*self.arguments)


class SimdKernels:
    """The kernels of the language model in an open side module."""

    def __init__(self, library: Library) -> None:
        self._c = library.functions(_ARGUMENTS)

    @staticmethod
    def packed_shape(n: int, k: int) -> tuple[int, int, int]:
        """Of the panels of a matrix (n, k), in bytes."""
        return -(-n // PANEL), n_blocks_of(k), PANEL * (Q4Matrix.block_bytes + SCALE_BYTES)

    @staticmethod
    def packed_bytes(matrix: BlockMatrix) -> int:
        """How much a matrix takes, packed or not."""
        n, k = matrix.shape
        return -(-n // PANEL) * PANEL * n_blocks_of(k) * (matrix.block_bytes + SCALE_BYTES)

    def pack(self, matrix: Q4Matrix, panels: NDArray[np.uint8] | None = None) -> Q4Panels:
        """Read a matrix, once, and pack it, into `panels` where they are given. Raises BadModel."""
        n, k = matrix.shape
        scale, q4 = np.ascontiguousarray(matrix.scale), np.ascontiguousarray(matrix.blocks)
        if panels is None:
            panels = np.empty(self.packed_shape(n, k), np.uint8)
        check(panels, *self.packed_shape(n, k), dtype=np.uint8)
        self._c.pack_q4(address(panels), address(q4), address(scale), n, k)
        return Q4Panels(panels, n, k)

    def matvec(self, out: Float32, weight: Q4Panels | Float32, x: Float32, *, accumulate: bool = False) -> Call:
        """out (n,) = weight (n, k) @ x (k,); `accumulate`: added to what is there."""
        if not isinstance(weight, Q4Panels):
            n, k = weight.shape
            check(weight)
            _check_vectors((out, n), (x, k))
            return Call.bind(self._c.matvec_f32, out, weight, x, n, k, int(accumulate))
        n, k = weight.n, weight.k
        _check_vectors((out, n), (x, k))
        rounded = np.empty((-(-k // BLOCK), ACTIVATIONS_BYTES // 4), np.int32)
        return Call.bind(self._c.matvec_q4, out, weight.panels, x, rounded, n, k, int(accumulate))

    def embed_sum(self, out: Float32, table: Matrix, rows: Int32, *, accumulate: bool = False) -> Call:
        """out (d,) = the sum of the rows that int32 rows (n,) name; `accumulate`: added to what is there."""
        check(rows, len(rows), dtype=np.int32)
        _check_vectors((out, table.shape[1]))
        sizes = len(rows), len(out), int(accumulate)
        if not isinstance(table, BlockMatrix):
            check(table)
            return Call.bind(self._c.embed_sum_f32, out, table, rows, *sizes)
        blocks, scale = table.blocks, table.scale
        check(blocks, dtype=table.dtype)
        check(scale, dtype=np.float16)
        return Call.bind(getattr(self._c, f"embed_sum_{table.format}"), out, blocks, scale, rows, *sizes)

    def rms_norm(self, out: Float32, x: Float32, alpha: Float32) -> Call:
        """out (d,) = x (d,) * alpha (d,) over the root of its mean square."""
        _check_vectors((out, len(x)), (x, len(x)), (alpha, len(x)))
        return Call.bind(self._c.rms_norm_f32, out, x, alpha, len(x))

    def gated_silu(self, out: Float32, inner: Float32) -> Call:
        """out (h,) = silu(gate) * value, of inner (2h,), the gate before the value."""
        _check_vectors((out, len(out)), (inner, 2 * len(out)))
        return Call.bind(self._c.gated_silu_f32, out, inner, len(out))

    def attention(self, out: Float32, qkv: Float32, ring: KVCache, place: Int32, cos: Float32, sin: Float32) -> Call:
        """Rotate the queries and keys of qkv (3d,) by cos and sin (D / 2,), keep keys and values, and attend: out (d,).

        place: int32 (2,), the slot of the ring that takes this key and value, and how many hold one then.
        """
        n_heads, n_slots, stride = ring.keys.shape
        d = n_heads * ring.width
        _check_vectors((out, d), (qkv, 3 * d), (cos, ring.width // 2), (sin, ring.width // 2))
        check(place, 2, dtype=np.int32)
        return Call.bind(
            self._c.attention_i16, out, qkv, ring.keys, ring.key_scale, ring.values, ring.value_scale, place, cos, sin,
            np.empty(n_slots, np.float32), np.empty(n_slots, np.int16), np.zeros(stride, np.int16),
            np.empty(stride, np.int32), n_heads, ring.width, n_slots,
        )  # fmt: skip


def _check_vectors(*vectors: tuple[Float32, int]) -> None:
    for vector, n in vectors:
        check(vector, n)
