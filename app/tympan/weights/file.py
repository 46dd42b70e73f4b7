"""Random access to the bytes of a file: the input of the readers of all tensor formats."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, product
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel

BytesLike: TypeAlias = bytes | bytearray | memoryview


class TensorInfo(NamedTuple):
    """One tensor's entry in the header of a file."""

    name: str
    dtype: str  # the format's own name: "F32", "Q4_0"
    shape: tuple[int, ...]
    n_bytes: int


class File(Protocol):
    """Bytes on a disk, in the browser's storage or in memory."""

    @property
    def n_bytes(self) -> int: ...

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Read `n_bytes` bytes from `offset`; the range must lie within the file. Returns uint8 (n_bytes,), read only.

        Raises CorruptFile if the bytes are no longer available.
        """
        ...


class InMemory:
    """Bytes in memory; a `File` that returns views, never copies."""

    def __init__(self, content: BytesLike) -> None:
        self._content = memoryview(content).cast("B")

    @classmethod
    def mapped(cls, path: Path) -> InMemory:
        """Map a local file; the system reads its pages on access. Raises OSError, also if the file is empty."""
        with path.open("rb") as file:
            try:
                return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
            except ValueError as error:
                raise OSError("it is empty") from error

    @property
    def n_bytes(self) -> int:
        return len(self._content)

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Return a view of a part. See `File.read`."""
        return np.frombuffer(self._content, np.uint8, n_bytes, offset)


class Joined:
    """The parts of a split file; a `File` that reads them as one."""

    def __init__(self, parts: Sequence[File]) -> None:
        self._parts = parts
        self._ends = list(accumulate(part.n_bytes for part in parts))

    @property
    def n_bytes(self) -> int:
        return self._ends[-1]

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Read a range, which may span several parts. See `File.read`."""
        pieces = []
        for part, end in zip(self._parts, self._ends, strict=True):
            first, last = max(offset, end - part.n_bytes), min(offset + n_bytes, end)
            if first < last:
                pieces.append(part.read(first - (end - part.n_bytes), last - first))
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.uint8), *pieces])


_PART = re.compile(r"(.+)-[a-z]{2}")
_SUFFIXES = ["".join(letters) for letters in product(ascii_lowercase, repeat=2)]  # in the order of the parts


def is_part(path: str) -> bool:
    """Whether a file is named like a part of a split file: `NAME-aa`, `NAME-ab`, and so on, as `split` names them."""
    return _PART.fullmatch(path) is not None


def join_parts(files: Iterable[tuple[str, File]]) -> list[tuple[str, File]]:
    """Join the parts of split files; leave other files as they are.

    files: path and file. Returns the same pairs, a split file under its NAME. Raises BadModel if a part is missing.
    """
    by_path = dict(files)
    parts: dict[str, list[str]] = {}  # of each file: its paths
    for path in by_path:
        match = _PART.fullmatch(path)
        name = match[1] if match and f"{match[1]}-{_SUFFIXES[0]}" in by_path else path
        parts.setdefault(name, []).append(path)
    joined: list[tuple[str, File]] = []
    for name, paths in parts.items():
        if paths == [name]:
            joined.append((name, by_path[name]))
            continue
        expected = [f"{name}-{suffix}" for suffix in _SUFFIXES[: len(paths)]]
        if missing := sorted(set(expected) - set(paths)):
            raise BadModel(f"the part {missing[0]} is missing")
        joined.append((name, Joined([by_path[path] for path in expected])))
    return joined
