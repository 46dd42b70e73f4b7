"""A file whose bytes are at hand, read in parts: what the readers of each format read from."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

BytesLike: TypeAlias = bytes | bytearray | memoryview


class StoredTensor(NamedTuple):
    """What a file says of one of its tensors."""

    name: str
    dtype: str  # as the format calls it: "F32", "Q4_0"
    shape: tuple[int, ...]
    n_bytes: int


class File(Protocol):
    """Bytes on a disk, in the browser's storage or in memory."""

    @property
    def n_bytes(self) -> int: ...

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Read `n_bytes` bytes from `offset` on, both within the file: uint8 (n_bytes,), to be treated as read only.

        Raises CorruptFile where the bytes cannot be had any more.
        """
        ...


class InMemory:
    """Bytes in memory; a `File` whose parts are views, never copies."""

    def __init__(self, content: BytesLike) -> None:
        self._content = memoryview(content).cast("B")

    @classmethod
    def mapped(cls, path: Path) -> InMemory:
        """A file of this machine, read from its disk as it is looked at. Raises OSError, also where it is empty."""
        with path.open("rb") as file:
            try:
                return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
            except ValueError as error:
                raise OSError("it is empty") from error

    @property
    def n_bytes(self) -> int:
        return len(self._content)

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Look at a part, as `File` says."""
        return np.frombuffer(self._content, np.uint8, n_bytes, offset)
