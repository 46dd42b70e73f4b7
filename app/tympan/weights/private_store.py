"""Storage in the origin private file system (OPFS).

A verified file has a second one beside it with the SHA-256 of samples of its content, which are compared when the file
is opened again: after a power failure, for example, its last blocks may be missing.

Only workers can write its files synchronously, so this module runs in the engine worker.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Any

from js import Uint8Array
from numpy.typing import NDArray
from pyodide.ffi import JsException, to_js

from tympan.errors import CorruptFile, DownloadFailed
from tympan.javascript import bytes_of, js_object, sha256_of, uint8_array
from tympan.weights.blob_file import PrivateFile
from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile
from tympan.weights.store import Part, Store

_CHECKED = ".checked"  # a file with this suffix marks the file beside it as verified, and holds the hash of its samples
_N_SAMPLES, _SAMPLE_BYTES = 16, 4096
_OPEN_ATTEMPTS, _OPEN_EVERY_S = 20, 0.25  # a closed page releases its file handles with a short delay


class PrivateStore(Store):
    """Storage in the origin private file system."""

    def __init__(self, folder: Any) -> None:
        self._folder = folder
        self._open: list[PrivateFile] = []

    async def find(self, key: str, file: ModelFile) -> File | None:
        blob = await self._file(key) if await self._file(key + _CHECKED) is not None else None
        return PrivateFile(blob, file.path) if blob is not None and blob.size == file.n_bytes else None

    async def open_exclusive(self, key: str, file: File) -> File:
        assert isinstance(file, PrivateFile), file
        with suppress(JsException):  # the browser allows one reader at a time, and another tab reads the file
            file.access = await _opened(await self._folder.getFileHandle(key), js_object({"mode": "read-only"}))
            self._open.append(file)
        if await self.read_text(key + _CHECKED) != _sampled(file):
            if file.access is not None:
                file.access.close()
                self._open.remove(file)
            raise CorruptFile(file.path, "the browser has lost a part of it")
        return file

    def release(self) -> None:
        for file in self._open:
            file.access.close()
            file.access = None
        self._open.clear()

    async def part(self, key: str) -> Part:
        with suppress(JsException):
            await self._folder.removeEntry(key + _CHECKED)
        return await self._part(key)

    async def commit(self, key: str) -> None:
        await self.write_text(key + _CHECKED, _sampled(PrivateFile(await self._file(key), key)))

    async def read_text(self, key: str) -> bytes | None:
        stored = await self._file(key)
        return await bytes_of(stored) if stored is not None else None

    async def write_text(self, key: str, text: BytesLike) -> None:
        part = await self._part(key)
        try:
            part.truncate(0)
            part.append(to_js(text))
        finally:
            part.close()

    async def clear(self) -> None:
        names = self._folder.keys()
        for name in [str(name) async for name in names]:
            with suppress(JsException):  # another tab is writing it
                await self._folder.removeEntry(name)

    async def _file(self, name: str) -> Any:
        """A JavaScript File, or None."""
        try:
            return await (await self._folder.getFileHandle(name)).getFile()
        except JsException as error:
            if error.name == "NotFoundError":
                return None
            raise

    async def _part(self, name: str) -> PrivatePart:
        handle = await self._folder.getFileHandle(name, js_object({"create": True}))
        for _ in range(_OPEN_ATTEMPTS):
            try:
                return PrivatePart(await _opened(handle))
            except JsException as error:
                if error.name != "NoModificationAllowedError":
                    raise
            await asyncio.sleep(_OPEN_EVERY_S)
        raise DownloadFailed(name, "another tab is using the stored file")


class PrivatePart:
    """A file of the origin private file system, open for writing."""

    def __init__(self, access: Any) -> None:
        self._access = access
        self.n_bytes = int(access.getSize())

    def append(self, piece: Any) -> None:
        n_written = self._access.write(piece, js_object({"at": self.n_bytes}))
        if n_written != piece.length:  # no space: Chromium then returns 4294967288
            self._access.truncate(self.n_bytes)
            raise JsException("QuotaExceededError", f"{piece.length} bytes could not be written")
        self.n_bytes += n_written

    def content(self, offset: int, n_bytes: int) -> bytes:
        target = Uint8Array.new(n_bytes)
        self._access.read(target, js_object({"at": offset}))
        return bytes(target.to_bytes())

    def append_array(self, array: NDArray[Any]) -> None:
        self.append(uint8_array(array))

    def truncate(self, n_bytes: int) -> None:
        self._access.truncate(n_bytes)
        self.n_bytes = n_bytes

    async def sha256(self) -> str:
        content = Uint8Array.new(self.n_bytes)
        self._access.read(content, js_object({"at": 0}))
        return await sha256_of(content.buffer)

    def close(self) -> None:
        """Close the file. It is not flushed to the disk, which takes as long as writing it."""
        self._access.close()


async def _opened(handle: Any, *options: Any) -> Any:
    """Create the FileSystemSyncAccessHandle of a file. A cancelled task closes it: nobody else could open the file."""
    opening = asyncio.ensure_future(handle.createSyncAccessHandle(*options))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: asyncio.Future[Any]) -> None:
    if opening.exception() is None:
        opening.result().close()


def _sampled(file: File) -> bytes:
    """The SHA-256, in hexadecimal, of the length and of evenly spaced parts, the first and the last among them."""
    digest = hashlib.sha256(str(file.n_bytes).encode())
    n_bytes = min(_SAMPLE_BYTES, file.n_bytes)
    for i in range(_N_SAMPLES):
        digest.update(file.read(i * (file.n_bytes - n_bytes) // (_N_SAMPLES - 1), n_bytes).data)
    return digest.hexdigest().encode()
