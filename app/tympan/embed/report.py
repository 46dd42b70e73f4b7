"""Reports errors to authors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tympan.errors import TympanError


@contextmanager
def reported() -> Iterator[None]:
    """Print errors raised inside to the console: PyScript drops exceptions of a worker."""
    try:
        yield
    except TympanError as error:
        if sys.platform == "emscripten":
            print(f"{error.kind}: {error}", file=sys.stderr)
        raise
