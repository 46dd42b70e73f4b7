"""What authors are told of failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tympan.errors import TympanError


@contextmanager
def reported() -> Iterator[None]:
    """Say to the console what is raised inside: PyScript lets exceptions of a worker vanish."""
    try:
        yield
    except TympanError as error:
        if sys.platform == "emscripten":
            print(f"{error.kind}: {error}", file=sys.stderr)
        raise
