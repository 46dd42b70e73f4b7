"""The functions of kernels.c on numpy arrays. All arrays are C-contiguous float32 where nothing else is said.

ctypes hands over addresses; what the C code takes for granted is asserted here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Bool, Float32, Int32

PANEL = 16  # outputs whose weights lie side by side; kernels.c has the same number

_ARGUMENTS = {  # of each function: p a pointer, i an int
    "product_f32": "ppipppiiii",
    "product_i16": "ppippppiiii",
    "pack_f32": "ppii",
    "pack_i16": "pppii",
    "elu_f32": "ppi",
    "layer_norm_f32": "ppppii",
    "attention_f32": "ppippppiiii",
    "rotate_f32": "pippiii",
    "round_i8": "ppppii",
    "residual_codes": "pppppppppiiii",
}


class Activation(IntEnum):
    """What a product does to its result; kernels.c has the same numbers."""

    NONE = 0
    ELU = 1
    GELU = 2


class Panels:
    """A matrix (n, k) packed for `Kernels.product`, with the bias of its outputs."""

    def __init__(
        self, weights: NDArray[np.float32] | NDArray[np.int16], scale: Float32 | None, bias: Float32 | None, n: int
    ) -> None:
        """weights: (ceil(n / PANEL), k, PANEL), zeros past row n. scale: (n,), of int16 weights. bias: (n,)."""
        self.weights, self.scale, self.bias = weights, scale, bias
        self.n, self.k = n, weights.shape[1]
        self.addresses = (_at(weights), *([] if scale is None else [_at(scale)]), _at(bias))


@dataclass(frozen=True)
class Codebooks:
    """K codebooks of n centroids, and their int8 stand-ins in which a search begins."""

    centroids: Float32  # (K, n, width)
    half_norms: Float32  # (K, n): |centroid|^2 / 2
    rounded: NDArray[np.int8]  # (K, n, width)
    scale: Float32  # (K, n)
    error: Float32  # (K, n): how much a score can err, for an x of length 1


class Kernels:
    """An open side module."""

    def __init__(self, library: ctypes.CDLL) -> None:
        types = {"p": ctypes.c_void_p, "i": ctypes.c_int}
        for name, arguments in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = [types[argument] for argument in arguments], None
            # An attribute of our own: looking one up in a CDLL takes longer than the call.
            setattr(self, f"_{name}", function)

    if TYPE_CHECKING:  # the attributes that __init__ sets

        def __getattr__(self, name: str) -> Callable[..., None]: ...

    def pack(self, weight: Float32, bias: Float32 | None = None, *, int16: bool = False) -> Panels:
        """Pack weight (n, k) and bias (n,); int16: rounded to multiples of each row's largest magnitude / 32767."""
        _check(weight)
        n, k = weight.shape
        if bias is not None:
            _check(bias, n)
        shape = (-(-n // PANEL), k, PANEL)
        if not int16:
            panels = np.empty(shape, np.float32)
            self._pack_f32(_at(panels), _at(weight), n, k)
            return Panels(panels, None, bias, n)
        rounded, scale = np.empty(shape, np.int16), np.empty(n, np.float32)
        self._pack_i16(_at(rounded), _at(scale), _at(weight), n, k)
        return Panels(rounded, scale, bias, n)

    def product(
        self, x: Float32, panels: Panels, residual: Float32 | None = None, activation: Activation = Activation.NONE
    ) -> Float32:
        """activation(x @ W.T + bias + residual): x (m, k), residual (m, n) -> (m, n).

        The rows of x may lie any distance apart, and overlap.
        """
        m, n, k, strides = len(x), panels.n, panels.k, x.strides
        assert x.dtype == np.float32 and x.shape == (m, k) and strides[1] == 4, (x.dtype, x.shape, strides)
        if residual is not None:
            _check(residual, m, n)
        out = np.empty((m, n), np.float32)
        product = self._product_f32 if panels.scale is None else self._product_i16
        product(_at(out), _at(x), strides[0] // 4, *panels.addresses, _at(residual), m, n, k, activation)
        return out

    def elu(self, x: Float32) -> Float32:
        """ELU of every element: same shape."""
        _check(x)
        out = np.empty_like(x)
        self._elu_f32(_at(out), _at(x), x.size)
        return out

    def layer_norm(self, x: Float32, weight: Float32, bias: Float32) -> Float32:
        """Layer norm of the rows of x (m, d), weight and bias (d,)."""
        _check(x)
        m, d = x.shape
        _check(weight, d)
        _check(bias, d)
        out = np.empty_like(x)
        self._layer_norm_f32(_at(out), _at(x), _at(weight), _at(bias), m, d)
        return out

    def rotate(self, x: Float32, cos: Float32, sin: Float32) -> None:
        """Rotate the pairs of x (m, H, D) in place, whose rows may lie any distance apart; cos and sin (m, D / 2)."""
        m, n_heads, width = x.shape
        assert x.dtype == np.float32 and x.strides[1:] == (4 * width, 4), (x.dtype, x.strides)
        _check(cos, m, width // 2)
        _check(sin, m, width // 2)
        self._rotate_f32(_at(x), x.strides[0] // 4, _at(cos), _at(sin), m, n_heads, width)

    def attention(self, q: Float32, keys: Float32, values: Float32, visible: Bool) -> Float32:
        """Attention of q (m, H, D) over keys and values (n, H, D) where visible (m, n), one key at least: (m, H * D).

        The rows of q may lie any distance apart.
        """
        m, n_heads, width = q.shape
        n = len(keys)
        assert q.dtype == np.float32 and q.strides[1:] == (4 * width, 4), (q.dtype, q.strides)
        _check(keys, n, n_heads, width)
        _check(values, n, n_heads, width)
        assert visible.shape == (m, n) and visible.flags.c_contiguous and visible.dtype == np.bool_, visible.shape
        out, scores = np.empty((m, n_heads * width), np.float32), np.empty((m, n_heads, n), np.float32)
        self._attention_f32(
            _at(out), _at(q), q.strides[0] // 4, _at(keys), _at(values), _at(visible), _at(scores),
            m, n, n_heads, width,
        )  # fmt: skip
        return out

    def round_codebooks(self, centroids: Float32, half_norms: Float32) -> Codebooks:
        """Make centroids (K, n, width) with half_norms (K, n) ready for `residual_codes`."""
        _check(centroids)
        n_codebooks, n, width = centroids.shape
        _check(half_norms, n_codebooks, n)
        rounded = np.empty(centroids.shape, np.int8)
        scale, error = np.empty((2, n_codebooks, n), np.float32)
        self._round_i8(_at(rounded), _at(scale), _at(error), _at(centroids), n_codebooks * n, width)
        return Codebooks(centroids, half_norms, rounded, scale, error)

    def residual_codes(self, x: Float32, codebooks: Codebooks) -> Int32:
        """The nearest centroid of what each codebook leaves over for the next, for x (m, width): int32 (m, K)."""
        n_codebooks, n, width = codebooks.centroids.shape
        m = len(x)
        _check(x, m, width)
        residual, codes = x.copy(), np.empty((m, n_codebooks), np.int32)
        upper, x_rounded = np.empty(n, np.float32), np.empty(width, np.int16)
        self._residual_codes(
            _at(codes), _at(residual), _at(codebooks.centroids), _at(codebooks.half_norms), _at(codebooks.rounded),
            _at(codebooks.scale), _at(codebooks.error), _at(upper), _at(x_rounded), m, n_codebooks, n, width,
        )  # fmt: skip
        return codes


def _at(array: NDArray[np.generic] | None) -> int:
    """The address of an array's first element; 0, which is C's null, for None."""
    return 0 if array is None else array.__array_interface__["data"][0]


def _check(array: Float32, *shape: int) -> None:
    assert array.dtype == np.float32 and array.flags.c_contiguous, (array.dtype, array.strides)
    assert not shape or array.shape == shape, (array.shape, shape)
