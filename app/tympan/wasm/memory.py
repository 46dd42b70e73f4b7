"""Numpy arrays as WebAssembly memory: their addresses, and the checks that C code relies on."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ZeroBytes = ctypes.c_char * 0


def address(array: NDArray[Any] | None) -> int:
    """The address of an array's first element in bytes; 0, which is C's null pointer, for None."""
    if array is None:
        return 0
    flags = array.flags
    if flags.c_contiguous and flags.writeable:
        return ctypes.addressof(_ZeroBytes.from_buffer(array))  # type: ignore[arg-type] # mypy accepts it from 3.12 on
    return int(array.__array_interface__["data"][0])  # three times as slow


def check(array: NDArray[Any], *shape: int, dtype: DTypeLike = np.float32) -> None:
    """Assert what C functions assume: the dtype, C order and, if given, the shape."""
    assert array.dtype == dtype and array.flags.c_contiguous, (array.dtype, array.strides)
    assert not shape or array.shape == shape, (array.shape, shape)
