"""Where downloaded files stay in the browser: its private file system, or its cache where there is none.

A file is stored under a key that its content or its address gives. It is `whole` once it has been checked, and only a
`part` before that: what a closed page or a crash leaves behind is a part, and a part can be continued.

Only a worker may open private files for writing or read blobs in one call; this module runs in the engine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import numpy as np
from js import Blob, FileReaderSync, Object, Promise, Response, Uint8Array, caches, location, navigator
from numpy.typing import NDArray
from pyodide.ffi import JsException, create_once_callable, to_js
from pyodide_js import _module

from tympan.errors import CorruptFile, DownloadFailed
from tympan.wasm.memory import address
from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile

_FOLDER = "models"
_CHECKED = ".checked"  # an empty file of this name beside another says that the other is whole
_OPEN_ATTEMPTS, _OPEN_EVERY_S = 20, 0.25  # a page that was closed lets go of its files a moment later


class Part(Protocol):
    """A file on its way; nobody else writes to it."""

    @property
    def n_bytes(self) -> int: ...

    def append(self, piece: Any) -> None:
        """Add a JavaScript Uint8Array. Raises JsException where there is no room."""
        ...

    def content(self, offset: int, n_bytes: int) -> bytes: ...

    def restart(self) -> None:
        """Forget what is there."""
        ...

    def close(self) -> None: ...


class Store:
    """What both kinds of storage share; `open_store` opens the better one."""

    async def whole(self, key: str, file: ModelFile) -> File | None:
        """The file of a model, checked, where it is stored under that key."""
        raise NotImplementedError

    async def hold(self, key: str, file: File) -> File:
        """Make the whole file of that key quick to read until `release`."""
        return file

    def release(self) -> None:
        """Other tabs may do with the files that are held what they like; they can still be read."""

    async def part(self, key: str) -> Part:
        """What is there of a file, perhaps nothing, to be continued by the holder of its lock, and closed."""
        raise NotImplementedError

    async def keep(self, key: str) -> None:
        """Say that the part of that key, which is closed, has been checked and is whole."""
        raise NotImplementedError

    async def note(self, key: str) -> bytes | None:
        """A small text that was stored."""
        raise NotImplementedError

    async def set_note(self, key: str, text: BytesLike) -> None:
        raise NotImplementedError

    async def clear(self) -> None:
        """Delete all that no other tab is writing."""
        raise NotImplementedError

    async def free_bytes(self) -> int:
        """How much more the browser says it would store."""
        estimate = await navigator.storage.estimate() if hasattr(navigator, "storage") else None
        return int(estimate.quota - estimate.usage) if estimate is not None else 1 << 40

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Keep every other tab of this site from the file of that key; wait for one that has it."""
        if not hasattr(navigator, "locks"):  # nor does an insecure page have storage that tabs could share
            yield
            return
        entered = asyncio.get_running_loop().create_future()
        held = Promise.withResolvers()

        def hold(lock: Any) -> Any:
            entered.set_result(None)
            return held.promise

        request = asyncio.ensure_future(navigator.locks.request(f"tympan {key}", create_once_callable(hold)))
        try:
            await asyncio.wait((entered, request), return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            held.resolve()
            if entered.done() or request.done():
                with suppress(JsException):  # it is refused where nothing may be stored
                    await request


async def open_store() -> Store:
    """The private file system where the browser has one, else its cache, else memory alone."""
    with suppress(AttributeError, TypeError, JsException):  # an old browser, an insecure page, a private window
        root = await navigator.storage.getDirectory()
        store = PrivateFiles(await root.getDirectoryHandle(_FOLDER, _options(create=True)))
        await store.set_note("probe", b"writes")
        return store
    cache = None
    with suppress(AttributeError, TypeError, JsException):
        cache = await caches.open(f"tympan {_FOLDER}")
    return Cache(cache)


class PrivateFiles(Store):
    """The Origin Private File System."""

    def __init__(self, folder: Any) -> None:
        self._folder = folder
        self._held: list[PrivateFile] = []

    async def whole(self, key: str, file: ModelFile) -> File | None:
        blob = await self._file(key) if await self._file(key + _CHECKED) is not None else None
        return PrivateFile(blob, file.path) if blob is not None and blob.size == file.n_bytes else None

    async def hold(self, key: str, file: File) -> File:
        assert isinstance(file, PrivateFile), file
        with suppress(JsException):  # a browser that lets one tab read at a time, and another tab that does
            handle = await self._folder.getFileHandle(key)
            file.access = await handle.createSyncAccessHandle(_options(mode="read-only"))
            self._held.append(file)
        return file

    def release(self) -> None:
        for file in self._held:
            file.access.close()
            file.access = None
        self._held.clear()

    async def part(self, key: str) -> Part:
        with suppress(JsException):
            await self._folder.removeEntry(key + _CHECKED)
        return await self._part(key)

    async def keep(self, key: str) -> None:
        await self._folder.getFileHandle(key + _CHECKED, _options(create=True))

    async def note(self, key: str) -> bytes | None:
        stored = await self._file(key)
        return await _bytes(stored)

    async def set_note(self, key: str, text: BytesLike) -> None:
        part = await self._part(key)
        try:
            part.restart()
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
        raise DownloadFailed(name, "another page holds the file that it is stored in")


class PrivatePart:
    """A file of the private file system, open for writing."""

    def __init__(self, access: Any) -> None:
        self._access = access
        self.n_bytes = int(access.getSize())

    def append(self, piece: Any) -> None:
        n_written = self._access.write(piece, _options(at=self.n_bytes))
        if n_written != piece.length:  # Chromium's way to say that there is no room: 4294967288 bytes written
            self._access.truncate(self.n_bytes)
            raise JsException("QuotaExceededError", f"{piece.length} bytes could not be written")
        self.n_bytes += n_written

    def content(self, offset: int, n_bytes: int) -> bytes:
        target = Uint8Array.new(n_bytes)
        self._access.read(target, _options(at=offset))
        return bytes(target.to_bytes())

    def restart(self) -> None:
        self._access.truncate(0)
        self.n_bytes = 0

    def close(self) -> None:
        self._access.flush()
        self._access.close()


class Cache(Store):
    """The Cache API; without even that, files last as long as the page."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._parts: dict[str, BlobPart] = {}
        self._whole: dict[str, Any] = {}  # blobs

    async def whole(self, key: str, file: ModelFile) -> File | None:
        blob = await self._blob(key)
        return BlobFile(blob, file.path) if blob is not None and blob.size == file.n_bytes else None

    async def part(self, key: str) -> Part:
        return self._parts.setdefault(key, BlobPart())

    async def keep(self, key: str) -> None:
        blob = self._parts.pop(key).blob()
        self._whole[key] = blob
        if self._cache is not None:
            await self._cache.put(_address(key), Response.new(blob))
            del self._whole[key]  # the browser keeps the other one, on the disk

    async def note(self, key: str) -> bytes | None:
        return await _bytes(await self._blob(key))

    async def set_note(self, key: str, text: BytesLike) -> None:
        self._parts[key] = BlobPart()
        self._parts[key].append(to_js(text))
        await self.keep(key)

    async def clear(self) -> None:
        self._parts.clear()
        self._whole.clear()
        if self._cache is not None:
            for request in await self._cache.keys():
                await self._cache.delete(request)

    async def _blob(self, key: str) -> Any:
        """A JavaScript Blob, or None."""
        if key in self._whole or self._cache is None:
            return self._whole.get(key)
        response = await self._cache.match(_address(key))
        return await response.blob() if response is not None else None


class BlobPart:
    """Pieces that the browser holds, outside of Python's memory."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self.n_bytes = 0

    def append(self, piece: Any) -> None:
        self._pieces.append(Blob.new(to_js([piece])))
        self.n_bytes += piece.length

    def content(self, offset: int, n_bytes: int) -> bytes:
        return BlobFile(self.blob(), "a part").read(offset, n_bytes).tobytes()

    def restart(self) -> None:
        self._pieces.clear()
        self.n_bytes = 0

    def close(self) -> None:
        """Nothing to be let go."""

    def blob(self) -> Any:
        return Blob.new(to_js(self._pieces))


class BlobFile:
    """A JavaScript Blob; a `File` that is copied part by part, when asked for, out of the browser's storage."""

    def __init__(self, blob: Any, path: str) -> None:
        """path: its name in messages."""
        self._blob, self.path = blob, path

    @property
    def n_bytes(self) -> int:
        return int(self._blob.size)

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Copy a part, as `File` says."""
        content = np.empty(n_bytes, np.uint8)
        try:
            if n_bytes:
                self._copy(offset, content)
        except JsException as error:  # deleted in another tab
            raise CorruptFile(self.path, f"the browser has lost it ({error.name})") from error
        return content

    def _copy(self, offset: int, target: NDArray[np.uint8]) -> None:
        buffer = FileReaderSync.new().readAsArrayBuffer(self._blob.slice(offset, offset + len(target)))
        buffer.assign_to(target)
        if hasattr(buffer, "transfer"):
            buffer.transfer(0)  # free it now: JavaScript would collect hundreds of megabytes first


class PrivateFile(BlobFile):
    """A file of the private file system. While it is held, it is read right into Python's memory.

    What reads a blob leaves a copy behind, which JavaScript collects when it likes: hundreds of megabytes of a model.
    """

    access: Any = None  # a FileSystemSyncAccessHandle, while it is held

    def _copy(self, offset: int, target: NDArray[np.uint8]) -> None:
        if self.access is None:
            super()._copy(offset, target)
            return
        memory = Uint8Array.new(_module.HEAPU8.buffer, address(target), len(target))
        if self.access.read(memory, _options(at=offset)) != len(target):
            raise CorruptFile(self.path, "the browser has lost a part of it")


async def _bytes(blob: Any) -> bytes | None:
    # Not `if blob`: a JavaScript object of size 0 counts as false in Python.
    return bytes((await blob.arrayBuffer()).to_bytes()) if blob is not None else None


def _address(key: str) -> str:
    """A cache knows addresses alone; nothing is ever fetched from this one."""
    return f"{location.origin}/{_FOLDER}/{key}"


def _options(**values: Any) -> Any:
    return to_js(values, dict_converter=Object.fromEntries)
