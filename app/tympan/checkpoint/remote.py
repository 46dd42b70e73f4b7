"""Reads tensors of a safetensors file at a URL, of which only the needed parts are downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tympan.weights.download import Downloader
from tympan.weights.safetensors import SafetensorsFile, header_bytes

# A request for less than this takes what follows too, so that neighbouring small tensors need one request.
READ_AHEAD_BYTES = 1 << 18


class RemoteFile:
    """A file at a URL; a `File` for the parts that were loaded last."""

    def __init__(self, url: str, n_bytes: int, downloader: Downloader) -> None:
        self.url, self._n_bytes, self._downloader = url, n_bytes, downloader
        self._parts: list[tuple[int, NDArray[np.uint8]]] = []  # offset and content

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    async def load(self, ranges: Iterable[tuple[int, int]], on_bytes: Callable[[int], None]) -> None:
        """Download ranges, offset and length, that are not loaded, and forget all others.

        on_bytes: called with the length of each piece of the ranges. Raises DownloadFailed, Cancelled.
        """
        wanted = list(ranges)
        # Forgotten before the next part is downloaded, so that two large ones are never in memory.
        self._parts = [part for part in self._parts if any(_holds(part, *wanted_range) for wanted_range in wanted)]
        for offset, n_bytes in wanted:
            if any(_holds(part, offset, n_bytes) for part in self._parts):
                on_bytes(n_bytes)
                continue
            n_requested = min(max(n_bytes, READ_AHEAD_BYTES), self._n_bytes - offset)
            counted = _Counted(n_bytes, on_bytes)
            content = await self._downloader.range(self.url, offset, n_requested, counted.add)
            self._parts.append((offset, content))

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Return a view of a loaded part. See `File.read`."""
        for part in self._parts:
            if _holds(part, offset, n_bytes):
                start = offset - part[0]
                return part[1][start : start + n_bytes]
        raise AssertionError((offset, n_bytes, "is not loaded"))


class RemoteTensors:
    """The header of a safetensors file at a URL, and its tensors, which must be loaded before they are read."""

    def __init__(self, file: RemoteFile, tensors: SafetensorsFile) -> None:
        self._file, self.tensors = file, tensors

    @classmethod
    async def open(cls, url: str, path: str, n_bytes: int, downloader: Downloader) -> RemoteTensors:
        """Download and read the header. path: the file's name in messages. Raises DownloadFailed, BadModel."""
        file = RemoteFile(url, n_bytes, downloader)
        await file.load([(0, min(n_bytes, READ_AHEAD_BYTES))], ignore_bytes)
        await file.load([(0, header_bytes(file, path))], ignore_bytes)
        return cls(file, SafetensorsFile(file, path))

    def n_bytes_of(self, names: Iterable[str]) -> int:
        """Bytes to download for these tensors."""
        return sum(self.tensors.location(name)[1] for name in names)

    async def load(self, names: Iterable[str], on_bytes: Callable[[int], None]) -> None:
        """Download these tensors and forget all others. See `RemoteFile.load`."""
        await self._file.load([self.tensors.location(name) for name in names], on_bytes)


class _Counted:
    """Counts at most n_bytes: what is read ahead is not part of what was asked for."""

    def __init__(self, n_bytes: int, on_bytes: Callable[[int], None]) -> None:
        self._left, self._on_bytes = n_bytes, on_bytes

    def add(self, n_bytes: int) -> None:
        counted = min(n_bytes, self._left)
        self._left -= counted
        if counted:
            self._on_bytes(counted)


def ignore_bytes(n_bytes: int) -> None:
    """A callback that does nothing."""


def _holds(part: tuple[int, NDArray[np.uint8]], offset: int, n_bytes: int) -> bool:
    begin, content = part
    return begin <= offset and offset + n_bytes <= begin + len(content)
