"""An open side module: its C functions as Python sees them, and numpy arrays as C sees them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Nothing = ctypes.c_char * 0
_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int}


class Library:
    """A side module. Raises OSError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def functions(self, arguments: Mapping[str, str]) -> SimpleNamespace:
        """The functions of these names; of each, its arguments: p a pointer, i an int.

        They are attributes of an object of our own: looking one up in a CDLL takes longer than the call.
        """
        functions = SimpleNamespace()
        for name, letters in arguments.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = [_TYPES[letter] for letter in letters], None
            setattr(functions, name, function)
        return functions


def address(array: NDArray[Any] | None) -> int:
    """The address of an array's first element; 0, which is C's null, for None."""
    if array is None:
        return 0
    flags = array.flags
    if flags.c_contiguous and flags.writeable:
        return ctypes.addressof(_Nothing.from_buffer(array))  # type: ignore[arg-type] # mypy knows from 3.12 on
    return int(array.__array_interface__["data"][0])  # numpy's own way takes three times as long


def check(array: NDArray[Any], *shape: int, dtype: type[np.generic] = np.float32) -> None:
    """Assert what C takes for granted: the dtype, C order and, where one is given, the shape."""
    assert array.dtype == dtype and array.flags.c_contiguous, (array.dtype, array.strides)
    assert not shape or array.shape == shape, (array.shape, shape)
