"""A loaded side module: its C functions, callable from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int}


class Library:
    """A loaded side module."""

    def __init__(self, path: Path) -> None:
        """Load the module at `path`. Raises OSError if the browser cannot compile it."""
        self._library = ctypes.CDLL(str(path))

    def functions(self, arguments: Mapping[str, str]) -> SimpleNamespace:
        """The functions named by the keys of `arguments`, as attributes.

        arguments: function name -> one letter per argument, p for a pointer and i for an int. All functions return
        nothing. The result is a plain object because an attribute lookup on a CDLL takes longer than the call.
        """
        functions = SimpleNamespace()
        for name, letters in arguments.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = [_TYPES[letter] for letter in letters], None
            setattr(functions, name, function)
        return functions
