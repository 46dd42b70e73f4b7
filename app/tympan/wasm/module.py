"""Which of the two side modules runs here, if any.

    relaxed   kernels-relaxed.so   a multiply and an add in one step, rounded once or twice as the CPU likes
    simd      kernels-simd.so      plain WebAssembly SIMD
    numpy     no module            under CPython, or in a browser without SIMD

Results differ between levels by float32 rounding alone. A matrix is packed for the level at which it was made, so the
level is chosen before weights are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tympan.errors import BadOption
from tympan.lm.simd.kernels import SimdKernels
from tympan.mimi.kernels import MimiKernels
from tympan.wasm.library import Library

LEVELS = ("relaxed", "simd", "numpy")  # the fastest first
AUTO = "auto"

_library: Library | None = None
_kernels: MimiKernels | None = None
_lm_kernels: SimdKernels | None = None
_level = ""


def use(level: str = AUTO) -> str:
    """Choose the level: one of LEVELS, or the fastest that runs here. Returns what is used now.

    A level that does not run here gives way to the next one. Raises BadOption for an unknown level.
    """
    global _library, _kernels, _lm_kernels, _level
    if level not in (AUTO, *LEVELS):
        raise BadOption("simd", level, (AUTO, *LEVELS))
    for candidate in LEVELS[0 if level == AUTO else LEVELS.index(level) :]:
        _library, _level = _open(candidate), candidate
        if _library is not None:
            break
    _kernels = None if _library is None else MimiKernels(_library)
    _lm_kernels = None if _library is None else SimdKernels(_library)
    return _level


def kernels() -> MimiKernels | None:
    """The kernels of Mimi on the level in use; None where numpy does the work."""
    if not _level:
        use()
    return _kernels


def lm_kernels() -> SimdKernels | None:
    """The kernels of the language model on the level in use; None where numpy does the work."""
    if not _level:
        use()
    return _lm_kernels


def level() -> str:
    """The level in use: one of LEVELS."""
    kernels()
    return _level


def module_name(level: str) -> str:
    """The file of a level's side module."""
    return f"kernels-{level}.so"


def _open(level: str) -> Library | None:
    if level == "numpy" or sys.platform != "emscripten":
        return None
    try:
        return Library(Path(__file__).parent / module_name(level))
    except OSError:  # the browser refuses to compile it: it lacks some of the instructions
        return None
