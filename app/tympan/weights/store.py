"""The interface of the storage for downloaded files; `store_selection.open_store` opens one.

Each file has a key derived from its hash or its URL. It is *partial* until it has been verified and committed. A closed
page or a crash leaves a partial file behind, whose download can be resumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import js
from js import Promise, navigator
from numpy.typing import NDArray
from pyodide.ffi import JsException, create_once_callable

from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile

_PIECE_BYTES = 1 << 20
_IOS_DEVICES = ("iPhone", "iPad", "iPod")
_IOS_BYTES = 2 << 30  # assumed: iOS reports no memory, and ends tabs that use about 1 GB on any device


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
    """Files and small texts by key, and what the browser reports about its storage and memory."""

    @property
    def hashes(self) -> bool:
        """Whether the browser can hash files: not over plain http."""
        return hasattr(js, "crypto") and hasattr(js.crypto, "subtle")

    async def find(self, key: str, file: ModelFile) -> File | None:
        """Return the verified file stored under the key, or None."""
        raise NotImplementedError

    async def open_exclusive(self, key: str, file: File) -> File:
        """Open an exclusive handle for fast reads until `release`, if the storage has such handles.

        Raises CorruptFile if samples of the content have changed.
        """
        return file

    def release(self) -> None:
        """Release the exclusive handles; later reads use a Blob."""

    async def part(self, key: str) -> Part:
        """Open the partial file, which may be empty, for writing. The caller holds the lock and closes the file."""
        raise NotImplementedError

    async def commit(self, key: str) -> None:
        """Mark the closed partial file as complete and verified."""
        raise NotImplementedError

    async def write(self, key: str, content: NDArray[Any]) -> None:
        """Store a whole file, uint8 (n_bytes,). The caller holds the lock. Raises JsException if there is no space."""
        part = await self.part(key)
        try:
            part.truncate(0)
            part.append_array(content)
        finally:
            part.close()
        await self.commit(key)

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
        """Memory of the device, rounded by the browser; None in browsers that do not report it."""
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


async def pieces_of(part: Part, n_bytes: int) -> AsyncIterator[bytes]:
    """The first n_bytes of a partial file, piece by piece. Other tasks may run between them."""
    for offset in range(0, n_bytes, _PIECE_BYTES):
        yield part.content(offset, min(_PIECE_BYTES, n_bytes - offset))
        await asyncio.sleep(0)
