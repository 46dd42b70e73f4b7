"""Browser storage for downloaded files: the origin private file system (OPFS), else the Cache API, else memory.

Each file has a key derived from its hash or its URL. It is *partial* until it has been verified and committed. A closed
page or a crash leaves a partial file behind, whose download can be resumed.

Only workers can write OPFS files synchronously, so this module runs in the engine worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import js
import numpy as np
from js import Blob, Object, Promise, Response, Uint8Array, location, navigator
from numpy.typing import NDArray
from pyodide.ffi import JsException, create_once_callable, to_js

from tympan.errors import DownloadFailed
from tympan.weights.blob_file import BlobFile, PrivateFile
from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile

_FOLDER = "models"
_IOS_DEVICES = ("iPhone", "iPad", "iPod")
_IOS_BYTES = 2 << 30  # they do not tell, but end tabs that take about 1 GB, whatever they have
_CHECKED = ".checked"  # an empty file with this suffix marks the file beside it as verified
_OPEN_ATTEMPTS, _OPEN_EVERY_S = 20, 0.25  # a closed page releases its file handles with a short delay


class Part(Protocol):
    """A partial file, with a single writer."""

    @property
    def n_bytes(self) -> int: ...

    def append(self, piece: Any) -> None:
        """Append a JavaScript Uint8Array. Raises JsException if there is no space."""
        ...

    def content(self, offset: int, n_bytes: int) -> bytes: ...

    def append_array(self, array: NDArray[Any]) -> None:
        """Append the bytes of a contiguous array. Raises JsException if there is no space."""
        ...

    def truncate(self, n_bytes: int) -> None:
        """Keep only the first bytes."""
        ...

    async def sha256(self) -> str:
        """The SHA-256 of the content in hexadecimal, computed by the browser, which needs `Store.hashes`."""
        ...

    def close(self) -> None: ...


class Store:
    """Interface of both kinds of storage; `open_store` chooses one."""

    @property
    def hashes(self) -> bool:
        """Whether the browser can hash files: not over plain http."""
        return hasattr(js, "crypto") and hasattr(js.crypto, "subtle")

    async def find(self, key: str, file: ModelFile) -> File | None:
        """Return the verified file stored under the key, or None."""
        raise NotImplementedError

    async def open_exclusive(self, key: str, file: File) -> File:
        """Open an exclusive handle for fast reads until `release`, if the storage has such handles."""
        return file

    def release(self) -> None:
        """Release the exclusive handles; later reads use a Blob."""

    async def part(self, key: str) -> Part:
        """Open the partial file, which may be empty, for writing. The caller holds the lock and closes the file."""
        raise NotImplementedError

    async def commit(self, key: str) -> None:
        """Mark the closed partial file as complete and verified."""
        raise NotImplementedError

    async def read_text(self, key: str) -> bytes | None:
        """Return a small text, or None if there is none."""
        raise NotImplementedError

    async def write_text(self, key: str, text: BytesLike) -> None:
        raise NotImplementedError

    async def clear(self) -> None:
        """Delete all files, except those that another tab is writing."""
        raise NotImplementedError

    async def free_bytes(self) -> int:
        """Free space according to the browser; a large number if it is unknown."""
        if not hasattr(navigator, "storage") or not hasattr(navigator.storage, "estimate"):  # plain http; WebKitGTK
            return 1 << 40
        estimate = await navigator.storage.estimate()
        return int(estimate.quota - estimate.usage)

    def device_memory_bytes(self) -> int | None:
        """Memory of the device, rounded by the browser; None in browsers that do not tell."""
        if any(name in navigator.userAgent for name in _IOS_DEVICES):
            return _IOS_BYTES
        gib = getattr(navigator, "deviceMemory", None)
        return None if gib is None else int(gib * (1 << 30))

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Lock the key against other tabs of this site; wait until it is free."""
        if not hasattr(navigator, "locks"):  # plain http, where tabs share no storage either
            yield
            return
        entered = asyncio.get_running_loop().create_future()
        released = Promise.withResolvers()

        def hold(lock: Any) -> Any:
            entered.set_result(None)
            return released.promise

        request = asyncio.ensure_future(navigator.locks.request(f"tympan {key}", create_once_callable(hold)))
        try:
            await asyncio.wait((entered, request), return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            released.resolve()
            if entered.done() or request.done():
                with suppress(JsException):  # refused if the site may not store data
                    await request


async def open_store() -> Store:
    """Open the origin private file system if available, else the Cache API, else storage in memory.

    Pages over plain http have neither `navigator.storage` nor `caches`; each is feature-tested.
    """
    with suppress(AttributeError, TypeError, JsException):  # an old browser, plain http, a private window
        root = await navigator.storage.getDirectory()
        store = PrivateFiles(await root.getDirectoryHandle(_FOLDER, _options(create=True)))
        await store.write_text("probe", b"writes")
        return store
    cache = None
    with suppress(AttributeError, TypeError, JsException):
        cache = await js.caches.open(f"tympan {_FOLDER}")
    return Cache(cache)


class PrivateFiles(Store):
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
            handle = await self._folder.getFileHandle(key)
            file.access = await handle.createSyncAccessHandle(_options(mode="read-only"))
            self._open.append(file)
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
        await self._folder.getFileHandle(key + _CHECKED, _options(create=True))

    async def read_text(self, key: str) -> bytes | None:
        stored = await self._file(key)
        return await _bytes(stored)

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
        handle = await self._folder.getFileHandle(name, _options(create=True))
        for _ in range(_OPEN_ATTEMPTS):
            try:
                return PrivatePart(await handle.createSyncAccessHandle())
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
        n_written = self._access.write(piece, _options(at=self.n_bytes))
        if n_written != piece.length:  # no space: Chromium then returns 4294967288
            self._access.truncate(self.n_bytes)
            raise JsException("QuotaExceededError", f"{piece.length} bytes could not be written")
        self.n_bytes += n_written

    def content(self, offset: int, n_bytes: int) -> bytes:
        target = Uint8Array.new(n_bytes)
        self._access.read(target, _options(at=offset))
        return bytes(target.to_bytes())

    def append_array(self, array: NDArray[Any]) -> None:
        self.append(_to_uint8(array))

    def truncate(self, n_bytes: int) -> None:
        self._access.truncate(n_bytes)
        self.n_bytes = n_bytes

    async def sha256(self) -> str:
        content = Uint8Array.new(self.n_bytes)
        self._access.read(content, _options(at=0))
        return await _sha256(content.buffer)

    def close(self) -> None:
        self._access.flush()
        self._access.close()


class Cache(Store):
    """Storage in the Cache API; without a cache, in memory until the page closes."""

    def __init__(self, cache: Any) -> None:
        """cache: a JavaScript Cache, or None."""
        self._cache = cache
        self._parts: dict[str, BlobPart] = {}
        self._blobs: dict[str, Any] = {}

    async def find(self, key: str, file: ModelFile) -> File | None:
        blob = await self._blob(key)
        return BlobFile(blob, file.path) if blob is not None and blob.size == file.n_bytes else None

    async def part(self, key: str) -> Part:
        return self._parts.setdefault(key, BlobPart())

    async def commit(self, key: str) -> None:
        blob = self._parts.pop(key).blob()
        self._blobs[key] = blob
        if self._cache is not None:
            await self._cache.put(_cache_url(key), Response.new(blob))
            del self._blobs[key]  # the cache has a copy on disk

    async def read_text(self, key: str) -> bytes | None:
        return await _bytes(await self._blob(key))

    async def write_text(self, key: str, text: BytesLike) -> None:
        self._parts[key] = BlobPart()
        self._parts[key].append(to_js(text))
        await self.commit(key)

    async def clear(self) -> None:
        self._parts.clear()
        self._blobs.clear()
        if self._cache is not None:
            for request in await self._cache.keys():
                await self._cache.delete(request)

    async def _blob(self, key: str) -> Any:
        """A JavaScript Blob, or None."""
        if key in self._blobs or self._cache is None:
            return self._blobs.get(key)
        response = await self._cache.match(_cache_url(key))
        return await response.blob() if response is not None else None


class BlobPart:
    """A partial file as a list of Blobs, outside Python's memory."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self.n_bytes = 0

    def append(self, piece: Any) -> None:
        self._pieces.append(Blob.new(to_js([piece])))
        self.n_bytes += piece.length

    def content(self, offset: int, n_bytes: int) -> bytes:
        return BlobFile(self.blob(), "a partial file").read(offset, n_bytes).tobytes()

    def append_array(self, array: NDArray[Any]) -> None:
        self.append(_to_uint8(array))

    def truncate(self, n_bytes: int) -> None:
        self._pieces = [self.blob().slice(0, n_bytes)] if n_bytes else []
        self.n_bytes = n_bytes

    async def sha256(self) -> str:
        return await _sha256(await self.blob().arrayBuffer())

    def close(self) -> None:
        """Do nothing: Blobs need no closing."""

    def blob(self) -> Any:
        return Blob.new(to_js(self._pieces))


async def _bytes(blob: Any) -> bytes | None:
    # Not `if blob`: a JavaScript object of size 0 is false in Python.
    return bytes((await blob.arrayBuffer()).to_bytes()) if blob is not None else None


async def _sha256(buffer: Any) -> str:
    """The SHA-256 of an ArrayBuffer in hexadecimal. Frees the buffer where the browser allows it."""
    digest = bytes((await js.crypto.subtle.digest("SHA-256", buffer)).to_bytes()).hex()
    if hasattr(buffer, "transfer"):
        buffer.transfer(0)
    return digest


def _to_uint8(array: NDArray[Any]) -> Any:
    """The bytes of a contiguous array as a JavaScript Uint8Array."""
    return to_js(array.reshape(-1).view(np.uint8))


def _cache_url(key: str) -> str:
    """A URL as the cache's key; it is never requested."""
    return f"{location.origin}/{_FOLDER}/{key}"


def _options(**values: Any) -> Any:
    return to_js(values, dict_converter=Object.fromEntries)
