"""The functions of mimi.c on numpy arrays. All arrays are C-contiguous float32 unless stated otherwise.

C receives addresses only, so this module asserts the shapes, dtypes and strides that the C code assumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Bool, Float32, Int32
from tympan.wasm import module
from tympan.wasm.library import Library
from tympan.wasm.memory import address, check

PANEL = 8  # outputs per panel; must equal PANEL in mimi.c

_ARGUMENTS = {  # function name -> its arguments: p a pointer, i an int
    "product_f32": "ppipppiiii",
    "product_i16": "ppippppiiii",
    "pack_f32": "ppii",
    "pack_i16": "pppii",
    "elu_f32": "ppi",
    "layer_norm_f32": "ppppii",
    "attention_f32": "ppippppiiii",
    "rotate_f32": "pippiii",
    "layer_f32": "pppppppppiiiiii",
    "round_i8": "ppppii",
    "residual_codes": "pppppppppiiii",
}


class Activation(IntEnum):
    """The function applied to the result of a product; must equal `enum activation` in mimi.c."""

    NONE = 0
    ELU = 1
    GELU = 2


class Panels:
    """A matrix (n, k) and a bias packed for `MimiKernels.product`."""

    def __init__(
        self, weights: NDArray[np.float32] | NDArray[np.int16], scale: Float32 | None, bias: Float32 | None, n: int
    ) -> None:
        """weights: (ceil(n / PANEL), k, PANEL), zeros past row n. scale: (n,), for int16 weights only. bias: (n,)."""
        self.weights, self.scale, self.bias = weights, scale, bias
        self.n, self.k = n, weights.shape[1]
        self.addresses = (address(weights), *([] if scale is None else [address(scale)]), address(bias))


class LayerPointers:
    """Pointers to the weights of a transformer layer, for `MimiKernels.layer`."""

    def __init__(
        self,
        norm1: tuple[Float32, Float32],
        in_proj: Panels,
        out_proj: Panels,
        norm2: tuple[Float32, Float32],
        linear1: Panels,
        linear2: Panels,
    ) -> None:
        """norm1, norm2: weight and bias, each (d,). Matrices: (3 d, d), (d, d), (hidden, d) and (d, hidden)."""
        self.hidden = linear1.n
        self._arrays = (  # references keep the arrays alive; the order is that of `struct layer` in mimi.c
            *norm1, in_proj.weights, in_proj.scale, out_proj.weights, out_proj.scale,
            *norm2, linear1.weights, linear1.scale, linear2.weights, linear2.scale,
        )  # fmt: skip
        self.pointers = np.array([address(array) for array in self._arrays], np.uintp)


@dataclass(frozen=True)
class Codebooks:
    """K codebooks of n centroids, with int8 approximations that narrow the search."""

    centroids: Float32  # (K, n, width)
    half_norms: Float32  # (K, n): |centroid|^2 / 2
    rounded: NDArray[np.int8]  # (K, n, width): approximately centroids / scale
    scale: Float32  # (K, n)
    error: Float32  # (K, n): bound on the error of a score, for an x of length 1


class MimiKernels:
    """The kernels of Mimi in a loaded side module."""

    def __init__(self, library: Library) -> None:
        self._c = library.functions(_ARGUMENTS)

    def pack(self, weight: Float32, bias: Float32 | None = None, *, int16: bool = False) -> Panels:
        """Pack weight (n, k) and bias (n,). int16: round each row to multiples of its largest magnitude / 32767."""
        check(weight)
        n, k = weight.shape
        if bias is not None:
            check(bias, n)
        shape = (-(-n // PANEL), k, PANEL)
        if not int16:
            panels = np.empty(shape, np.float32)
            self._c.pack_f32(address(panels), address(weight), n, k)
            return Panels(panels, None, bias, n)
        rounded, scale = np.empty(shape, np.int16), np.empty(n, np.float32)
        self._c.pack_i16(address(rounded), address(scale), address(weight), n, k)
        return Panels(rounded, scale, bias, n)

    def product(
        self, x: Float32, panels: Panels, residual: Float32 | None = None, activation: Activation = Activation.NONE
    ) -> Float32:
        """Compute activation(x @ W.T + bias + residual): x (m, k), residual (m, n) -> (m, n).

        The rows of x may have any stride and may overlap.
        """
        m, n, k, strides = len(x), panels.n, panels.k, x.strides
        assert x.dtype == np.float32 and x.shape == (m, k) and strides[1] == 4, (x.dtype, x.shape, strides)
        if residual is not None:
            check(residual, m, n)
        out = np.empty((m, n), np.float32)
        product = self._c.product_f32 if panels.scale is None else self._c.product_i16
        product(address(out), address(x), strides[0] // 4, *panels.addresses, address(residual), m, n, k, activation)
        return out

    def elu(self, x: Float32) -> Float32:
        """Apply ELU to every element: same shape."""
        check(x)
        out = np.empty_like(x)
        self._c.elu_f32(address(out), address(x), x.size)
        return out

    def layer_norm(self, x: Float32, weight: Float32, bias: Float32) -> Float32:
        """Apply layer norm to the rows of x (m, d), weight and bias (d,)."""
        check(x)
        m, d = x.shape
        check(weight, d)
        check(bias, d)
        out = np.empty_like(x)
        self._c.layer_norm_f32(address(out), address(x), address(weight), address(bias), m, d)
        return out

    def rotate(self, x: Float32, cos: Float32, sin: Float32) -> None:
        """Rotate the pairs of x (m, H, D) in place; its rows may have any stride. cos, sin: (m, D / 2)."""
        m, n_heads, width = x.shape
        assert x.dtype == np.float32 and x.strides[1:] == (4 * width, 4), (x.dtype, x.strides)
        check(cos, m, width // 2)
        check(sin, m, width // 2)
        self._c.rotate_f32(address(x), x.strides[0] // 4, address(cos), address(sin), m, n_heads, width)

    def attention(self, q: Float32, keys: Float32, values: Float32, visible: Bool) -> Float32:
        """Attend with q (m, H, D) to keys and values (n, H, D) where visible (m, n): (m, H * D).

        Each query must see at least one key. The rows of q may have any stride.
        """
        m, n_heads, width = q.shape
        n = len(keys)
        assert q.dtype == np.float32 and q.strides[1:] == (4 * width, 4), (q.dtype, q.strides)
        check(keys, n, n_heads, width)
        check(values, n, n_heads, width)
        assert visible.shape == (m, n) and visible.flags.c_contiguous and visible.dtype == np.bool_, visible.shape
        out, scores = np.empty((m, n_heads * width), np.float32), np.empty((m, n_heads, n), np.float32)
        self._c.attention_f32(
            address(out), address(q), q.strides[0] // 4, address(keys), address(values), address(visible),
            address(scores), m, n, n_heads, width,
        )  # fmt: skip
        return out

    def layer(
        self,
        x: Float32,
        weights: LayerPointers,
        keys: Float32,
        values: Float32,
        cos: Float32,
        sin: Float32,
        slots: Int32,
        visible: Bool,
    ) -> None:
        """Apply a layer to x (F * m, d) in place: F frames of m positions each, in order, over the KV cache.

        keys, values: (S, H, D), the cache; frame i is written to slots[i], of (F, m), and attends to visible[i], of
        (F, m, S). cos, sin: (F * m, D / 2).
        """
        n_frames, m = slots.shape
        context, n_heads, width = keys.shape
        d, hidden, n = n_heads * width, weights.hidden, n_frames * m
        check(x, n, d)
        check(keys)
        check(values, *keys.shape)
        check(cos, n, width // 2)
        check(sin, n, width // 2)
        check(slots, dtype=np.int32)
        check(visible, n_frames, m, context, dtype=np.bool_)
        scratch = np.empty(n * (5 * d + hidden) + m * n_heads * context, np.float32)
        self._c.layer_f32(
            address(x), address(weights.pointers), address(keys), address(values), address(cos), address(sin),
            address(slots), address(visible), address(scratch), n_frames, m, context, n_heads, width, hidden,
        )  # fmt: skip

    def round_codebooks(self, centroids: Float32, half_norms: Float32) -> Codebooks:
        """Prepare centroids (K, n, width) with half_norms (K, n) for `residual_codes`."""
        check(centroids)
        n_codebooks, n, width = centroids.shape
        check(half_norms, n_codebooks, n)
        rounded = np.empty(centroids.shape, np.int8)
        scale, error = np.empty((2, n_codebooks, n), np.float32)
        self._c.round_i8(address(rounded), address(scale), address(error), address(centroids), n_codebooks * n, width)
        return Codebooks(centroids, half_norms, rounded, scale, error)

    def residual_codes(self, x: Float32, codebooks: Codebooks) -> Int32:
        """Encode x (m, width) -> codes int32 (m, K): per codebook, the centroid nearest to the residual so far."""
        n_codebooks, n, width = codebooks.centroids.shape
        m = len(x)
        check(x, m, width)
        residual, codes = x.copy(), np.empty((m, n_codebooks), np.int32)
        upper, x_rounded = np.empty(n, np.float32), np.empty(width, np.int16)
        self._c.residual_codes(
            address(codes), address(residual), address(codebooks.centroids), address(codebooks.half_norms),
            address(codebooks.rounded), address(codebooks.scale), address(codebooks.error), address(upper),
            address(x_rounded), m, n_codebooks, n, width,
        )  # fmt: skip
        return codes


def mimi_kernels() -> MimiKernels | None:
    """Return the kernels at the selected level (see `wasm.module`), or None without SIMD."""
    library = module.library()
    return None if library is None else _kernels_in(library)


@cache
def _kernels_in(library: Library) -> MimiKernels:
    return MimiKernels(library)
