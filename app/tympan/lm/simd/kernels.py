"""The functions of lm.c on numpy arrays. A kernel is bound to its arrays once and called once per step.

All arrays are C-contiguous float32 unless stated otherwise. C receives addresses only, so this module asserts the
shapes and dtypes that the C code assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.lm.decoding import DECODED
from tympan.lm.terms import NODE, TermTrie
from tympan.wasm import module
from tympan.wasm.library import Library
from tympan.wasm.memory import address, check
from tympan.weights.blocks import BLOCK, SCALE_BYTES, BlockMatrix, n_blocks_of
from tympan.weights.matrix import Matrix
from tympan.weights.q4 import Q4Matrix

# These constants must equal those in lm.c.
PANEL = 16  # rows per panel
ACTIVATIONS_BYTES = 8 + 2 * BLOCK  # of a block of rounded activations
WIDTH_STEP, SLOT_STEP = 8, 4  # a KV cache's width and number of slots are rounded up to multiples of these

_ARGUMENTS = {  # function name -> its arguments: p a pointer, i an int
    "pack_q4": "ppipiii",
    "matvec_q4": "ppppiii",
    "matvec_f32": "pppiii",
    "embed_sum_q4": "ppppiii",
    "embed_sum_q8": "ppppiii",
    "embed_sum_f32": "pppiii",
    "rms_norm_f32": "pppi",
    "gated_silu_f32": "ppi",
    "attention_i16": "pppppppppppppiii",
    "decode": "ppppi",
}


@dataclass(frozen=True)
class Q4Panels:
    """A matrix (n, k) of Q4 blocks, packed for `SimdKernels.matvec`."""

    panels: NDArray[np.uint8]  # (ceil(n / PANEL), ceil(k / 32), bytes of PANEL blocks)
    n: int
    k: int


@dataclass(frozen=True)
class KVCache:
    """The keys and values of the last S positions for H heads of width D, in int16 with a scale for each vector.

    S and D are padded with zeros to multiples of SLOT_STEP and WIDTH_STEP.
    """

    keys: NDArray[np.int16]  # (H, S, D)
    key_scale: Float32  # (H, S)
    values: NDArray[np.int16]  # (H, S, D)
    value_scale: Float32  # (H, S)
    width: int  # D without padding

    @classmethod
    def zeros(cls, n: int, n_heads: int, n_slots: int, width: int) -> tuple[KVCache, ...]:
        """n empty caches, allocated together."""
        slots = (n_heads, -(-n_slots // SLOT_STEP) * SLOT_STEP)
        keys, values = np.zeros((2, n, *slots, -(-width // WIDTH_STEP) * WIDTH_STEP), np.int16)
        key_scale, value_scale = np.zeros((2, n, *slots), np.float32)
        return tuple(cls(keys[i], key_scale[i], values[i], value_scale[i], width) for i in range(n))


@dataclass(frozen=True)
class Call:
    """A kernel bound to its arguments; keeps their arrays alive."""

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
    """The kernels of the language model in a loaded side module."""

    def __init__(self, library: Library) -> None:
        self._c = library.functions(_ARGUMENTS)

    @staticmethod
    def packed_shape(n: int, k: int) -> tuple[int, int, int]:
        """The shape in bytes of a packed matrix (n, k)."""
        return -(-n // PANEL), n_blocks_of(k), PANEL * (Q4Matrix.block_bytes + SCALE_BYTES)

    @staticmethod
    def packed_bytes(matrix: BlockMatrix) -> int:
        """The size of a matrix with its rows padded to whole panels, in bytes: packed, or as blocks and scales."""
        n, k = matrix.shape
        return -(-n // PANEL) * PANEL * n_blocks_of(k) * (matrix.block_bytes + SCALE_BYTES)

    def pack(self, matrix: Q4Matrix, panels: NDArray[np.uint8] | None = None) -> Q4Panels:
        """Read a matrix and pack it, into `panels` if given. Raises BadModel."""
        n, k = matrix.shape
        (q4, q4_stride), (scale, scale_stride) = _evenly_spaced(matrix.blocks), _evenly_spaced(matrix.scale)
        if panels is None:
            panels = np.empty(self.packed_shape(n, k), np.uint8)
        check(panels, *self.packed_shape(n, k), dtype=np.uint8)
        self._c.pack_q4(address(panels), address(q4), q4_stride, address(scale), scale_stride, n, k)
        return Q4Panels(panels, n, k)

    def matvec(self, out: Float32, weight: Q4Panels | Float32, x: Float32, *, accumulate: bool = False) -> Call:
        """out (n,) = weight (n, k) @ x (k,). accumulate: add to out instead."""
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
        """out (d,) = the sum of the table rows at the indices in rows, int32 (n,). accumulate: add to out instead."""
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
        """out (d,) = x (d,) / rms(x) * alpha (d,)."""
        _check_vectors((out, len(x)), (x, len(x)), (alpha, len(x)))
        return Call.bind(self._c.rms_norm_f32, out, x, alpha, len(x))

    def gated_silu(self, out: Float32, inner: Float32) -> Call:
        """out (h,) = silu(gate) * value, for inner (2h,) holding the gate followed by the value."""
        _check_vectors((out, len(out)), (inner, 2 * len(out)))
        return Call.bind(self._c.gated_silu_f32, out, inner, len(out))

    def attention(
        self, out: Float32, qkv: Float32, kv_cache: KVCache, place: Int32, cos: Float32, sin: Float32
    ) -> Call:
        """Rotate q and k of qkv (3d,) by cos and sin (D / 2,), write k and v to the cache, and attend: out (d,).

        place: int32 (2,), the slot to write and the number of filled slots including it.
        """
        n_heads, n_slots, stride = kv_cache.keys.shape
        d = n_heads * kv_cache.width
        _check_vectors((out, d), (qkv, 3 * d), (cos, kv_cache.width // 2), (sin, kv_cache.width // 2))
        check(place, 2, dtype=np.int32)
        return Call.bind(
            self._c.attention_i16, out, qkv, kv_cache.keys, kv_cache.key_scale, kv_cache.values, kv_cache.value_scale,
            place, cos, sin,
            np.empty(n_slots, np.float32), np.empty(n_slots, np.int16), np.zeros(stride, np.int16),
            np.empty(stride, np.int32), n_heads, kv_cache.width, n_slots,
        )  # fmt: skip

    def decode(self, decoded: NDArray[Any], total: Float32, logits: Float32, terms: TermTrie) -> Call:
        """`decoding.decode` for logits (V,), but `log_probabilities` lack the logarithm of total (1,), which is set."""
        _check_vectors((total, 1), (logits, len(logits)))
        check(decoded, 1, dtype=DECODED)
        check(terms.nodes, dtype=NODE)
        return Call.bind(self._c.decode, logits, decoded, terms.nodes, total, len(logits))


def _evenly_spaced(part: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The blocks or the scales of a matrix, and the bytes from each to the next; a copy if they have gaps."""
    packed_bytes = part.itemsize * prod(part.shape[2:])
    if not part.flags.c_contiguous:
        row_stride, stride, *inside = part.strides
        if row_stride == part.shape[1] * stride and inside in ([], [part.itemsize]):
            return part, stride
    return np.ascontiguousarray(part), packed_bytes


def _check_vectors(*vectors: tuple[Float32, int]) -> None:
    for vector, n in vectors:
        check(vector, n)


def simd_kernels() -> SimdKernels | None:
    """The kernels at the selected level (see `wasm.module`), or None without SIMD."""
    library = module.library()
    return None if library is None else _kernels_in(library)


@cache
def _kernels_in(library: Library) -> SimdKernels:
    return SimdKernels(library)
