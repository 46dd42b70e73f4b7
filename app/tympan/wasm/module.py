"""Selects the side module for this browser and loads it.

    relaxed   kernels-relaxed.wasm   relaxed SIMD: fused multiply-add, rounded once or twice depending on the CPU
    simd      kernels-simd.wasm      plain WebAssembly SIMD
    numpy     no module              in CPython, or in a browser without SIMD

Results differ between levels by float32 rounding only. Weights are packed by the kernels of one level, so select the
level before loading a model.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from tympan.errors import BadOption
from tympan.wasm.library import Library

LEVELS = ("relaxed", "simd", "numpy")  # fastest first
AUTO = "auto"

_library: Library | None = None
_level = ""  # "" until the first use


def use(level: str = AUTO) -> str:
    """Select a level: one of LEVELS, or AUTO for the fastest one that this browser supports.

    Falls back to the next level if the browser does not support the requested one. Returns the level selected.
    Raises BadOption for an unknown level.
    """
    global _library, _level
    if level not in (AUTO, *LEVELS):
        raise BadOption("simd", level, (AUTO, *LEVELS))
    for candidate in LEVELS[0 if level == AUTO else LEVELS.index(level) :]:
        _library, _level = _load(candidate), candidate
        if _library is not None:
            break
    return _level


def library() -> Library | None:
    """The side module of the selected level, or None at the level "numpy". Selects AUTO on the first call."""
    if not _level:
        use()
    return _library


def level() -> str:
    """The selected level: one of LEVELS."""
    library()
    return _level


def module_name(level: str) -> str:
    """The file name of a level's side module.

    The suffix is not `.so`, because Pyodide loads all files of that kind when it installs a wheel, and fails where the
    browser does not support one of them.
    """
    return f"kernels-{level}.wasm"


@cache
def _load(level: str) -> Library | None:
    if level == "numpy" or sys.platform != "emscripten":
        return None
    try:
        return Library(Path(__file__).parent / module_name(level))
    except OSError:  # the browser does not support some of its instructions
        return None
