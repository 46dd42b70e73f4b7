"""Prints errors to the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tympan.errors import TympanError


@contextmanager
def reported() -> Iterator[None]:
    """Print errors raised in the block to the console, because PyScript discards exceptions of workers."""
    try:
        yield
    except TympanError as error:
        if sys.platform == "emscripten":
            print(f"{error.kind}: {error}", file=sys.stderr)
        raise
