"""Random access to the bytes of a file: the input of the readers of all tensor formats."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
