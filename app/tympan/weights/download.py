"""Downloads models over HTTP: resumes interrupted transfers, verifies each file, and keeps it in the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from js import AbortController, fetch
from numpy.typing import NDArray
from pyodide.ffi import JsException

from tympan.errors import BadModel, Cancelled, CorruptFile, DownloadFailed, StorageFull, UnknownModel
from tympan.javascript import bytes_of, js_object
from tympan.weights.blob_file import lost
from tympan.weights.body_reader import BodyReader
from tympan.weights.file import BytesLike, File, is_part
from tympan.weights.manifest import ModelFile
from tympan.weights.model import open_tensors
from tympan.weights.progress import Progress
from tympan.weights.store import Part, Store, pieces_of

ATTEMPTS = 4  # consecutive requests without a byte before the download fails
FIRST_PAUSE_S = 0.5  # before the first retry; doubled before each further one
STALL_S = 30.0  # without a byte until a connection counts as broken

_BROWSER_HASH_BYTES = 1 << 28  # the browser hashes a file in one piece; larger ones are hashed while they arrive
_NOT_FOUND = (404, 410)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # status codes worth a retry


class Downloader:
    """Downloads the files of one model. Once cancelled, every operation raises Cancelled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._abort = AbortController.new()
        self._connection = asyncio.Lock()  # one download at a time, while the file before it is hashed

    def cancel(self) -> None:
        """Make the running operation raise Cancelled. Partial downloads are kept."""
        self._abort.abort()

    async def text(self, url: str, missing: UnknownModel | None = None) -> bytes:
        """Download a small file. missing: raised instead of DownloadFailed if the URL does not exist."""
        try:
            response = await self._fetch(url)
            if not response.ok:
                if missing is not None and response.status in _NOT_FOUND:
                    raise missing
                raise DownloadFailed(url, f"the server answered {response.status}")
            return await bytes_of(response)
        except JsException as error:  # no network, or refused by CORS
            raise self._failure(url, error) from error

    async def has(self, url: str, file: ModelFile) -> bool:
        """Whether the complete file is in the store."""
        return await self.store.find(_key(url, file), file) is not None

    async def store_text(self, key: str, text: BytesLike) -> None:
        """Store a small text for later visits. Does nothing if the browser refuses to store it."""
        with suppress(JsException, DownloadFailed):
            await self.store.write_text(key, text)

    async def file(self, url: str, file: ModelFile, progress: Progress) -> File:
        """Return the file from the store, downloading it first if needed. A corrupt download is repeated once.

        Raises CorruptFile, DownloadFailed, StorageFull, Cancelled.
        """
        key = _key(url, file)
        async with self.store.locked(key):
            stored = await self.store.find(key, file)
            if stored is not None:
                with suppress(CorruptFile):  # then `_download` hashes the whole file
                    opened = await self.store.open_exclusive(key, stored)
                    progress.skip(file.n_bytes)
                    return opened
            try:
                stored = await self._download(url, key, file, progress)
            except CorruptFile:
                stored = await self._download(url, key, file, progress)
            return await self.store.open_exclusive(key, stored)

    async def _download(self, url: str, key: str, file: ModelFile, progress: Progress) -> File:
        """Complete and verify the partial file in the store. Removes it and raises CorruptFile if it is wrong."""
        part = await self.store.part(key)
        in_browser = self.store.hashes and file.n_bytes <= _BROWSER_HASH_BYTES
        partial = _PartialFile(part, progress, file.n_bytes, in_browser)
        try:
            async with self._connection:
                await self._rehash(partial)
                if (free_bytes := await self.store.free_bytes()) < progress.missing_bytes:
                    raise StorageFull(progress.missing_bytes, free_bytes)
                await self._complete(url, partial)
            await partial.check(file)
        except CorruptFile:
            partial.restart()
            raise
        except JsException as error:
            if error.name == "QuotaExceededError":
                raise StorageFull(progress.missing_bytes, await self.store.free_bytes()) from error
            if error.name == "InvalidStateError":
                raise lost(file.path, error) from error
            raise self._failure(url, error) from error
        finally:
            part.close()
        try:
            await self.store.commit(key)
        except JsException as error:  # the Cache API allocates space only now
            raise StorageFull(file.n_bytes, await self.store.free_bytes()) from error
        stored = await self.store.find(key, file)
        if stored is None:
            raise CorruptFile(file.path, "the browser did not keep it")
        if not file.sha256:
            await self._check_structure(stored, key, file, progress)
        return stored

    async def _check_structure(self, stored: File, key: str, file: ModelFile, progress: Progress) -> None:
        """Validate the header of a file without a published sha256. Raises CorruptFile."""
        if file.role == "tokenizer" or is_part(file.path):
            return  # parsed completely right afterwards; and a part has no header
        try:
            open_tensors(stored, file.path)
        except BadModel as error:
            part = await self.store.part(key)
            _PartialFile(part, progress, file.n_bytes, in_browser=True).restart()
            part.close()
            raise CorruptFile(file.path, error.reason) from error

    async def _rehash(self, partial: _PartialFile) -> None:
        """Count and hash the bytes that an earlier visit left in the store."""
        if partial.digest is None:
            partial.progress.skip(partial.n_bytes)
            return
        async for piece in pieces_of(partial.part, partial.part.n_bytes):
            partial.digest.update(piece)
            partial.progress.skip(len(piece))
            if self._abort.signal.aborted:
                raise Cancelled

    async def range(self, url: str, offset: int, n_bytes: int, on_bytes: Callable[[int], None]) -> NDArray[np.uint8]:
        """Download a part of a file into memory: uint8 (n_bytes,).

        on_bytes: called with the length of each piece. Raises DownloadFailed, also if the server does not send parts;
        Cancelled.
        """
        part = _Range(url, offset, n_bytes, on_bytes)
        try:
            await self._complete(url, part)
        except JsException as error:
            raise self._failure(url, error) from error
        return part.content

    async def _complete(self, url: str, target: _Target) -> None:
        """Request the missing bytes until the target is complete. Raises DownloadFailed, Cancelled."""
        n_failures = 0
        while target.n_bytes < target.n_wanted:
            before_bytes = target.n_bytes
            reason = await self._request(url, target)
            if target.n_bytes >= target.n_wanted:
                return
            n_failures = 0 if target.n_bytes > before_bytes else n_failures + 1
            if n_failures == ATTEMPTS:
                raise DownloadFailed(url, f"{reason}, after {target.n_bytes} of {target.n_wanted} bytes")
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** max(0, n_failures - 1))
            if self._abort.signal.aborted:
                raise Cancelled

    async def _request(self, url: str, target: _Target) -> str:
        """Send one request for the missing bytes. Returns why it ended, in case some are still missing."""
        try:
            wanted = target.range_header
            response = await self._fetch(url, **({"Range": wanted} if wanted else {}))
            if response.status == 416 or (response.ok and wanted and not _continues(response, wanted)):
                target.restart()  # the server does not support ranges, or the file has changed
            if response.status in _TRANSIENT or response.status == 416:
                return f"the server answered {response.status}"
            if not response.ok:
                raise DownloadFailed(url, f"the server answered {response.status}")
            reader = BodyReader(response.body)
            try:
                while target.n_bytes <= target.n_wanted:
                    piece = await asyncio.wait_for(reader.read(), STALL_S)
                    if piece is None:
                        return "the connection ended early"
                    target.add(piece)
            finally:
                await reader.close()
        except TimeoutError:
            return f"no data for {STALL_S:.0f} s"
        except JsException as error:
            if error.name in ("AbortError", "QuotaExceededError"):
                raise
            return str(error.message)
        return ""

    async def _fetch(self, url: str, **headers: str) -> Any:
        return await fetch(url, js_object({"headers": headers, "signal": self._abort.signal}))

    def _failure(self, url: str, error: JsException) -> Cancelled | DownloadFailed:
        return Cancelled() if error.name == "AbortError" else DownloadFailed(url, str(error.message))


class _Target(Protocol):
    """What a download fills. n_wanted: its length when it is complete."""

    n_wanted: int

    @property
    def n_bytes(self) -> int: ...

    @property
    def range_header(self) -> str:
        """The Range of the missing bytes; "" for a whole file."""
        ...

    def add(self, piece: Any) -> None:
        """Append a JavaScript Uint8Array."""
        ...

    def restart(self) -> None:
        """Discard the content: the server did not continue where it was asked to."""
        ...


class _PartialFile:
    """A partial file in the store.

    digest: the hash of its content so far; None if the browser hashes the complete file, several times as fast as
    Python and without copying it into Python's memory.
    """

    def __init__(self, part: Part, progress: Progress, n_wanted: int, in_browser: bool) -> None:
        """in_browser: whether the browser hashes the file."""
        self.part, self.progress, self.n_wanted = part, progress, n_wanted
        self.digest = None if in_browser else hashlib.sha256()

    @property
    def n_bytes(self) -> int:
        return self.part.n_bytes

    @property
    def range_header(self) -> str:
        return f"bytes={self.n_bytes}-" if self.n_bytes else ""

    def add(self, piece: Any) -> None:
        """piece: a Uint8Array."""
        self.part.append(piece)
        if self.digest is not None:
            self.digest.update(piece.to_bytes())
        self.progress.add(int(piece.length))

    def restart(self) -> None:
        """Discard the content."""
        self.progress.skip(-self.part.n_bytes)
        self.part.truncate(0)
        if self.digest is not None:
            self.digest = hashlib.sha256()

    async def check(self, file: ModelFile) -> None:
        """Raise CorruptFile unless length and sha256 match the manifest."""
        if self.part.n_bytes != file.n_bytes:
            raise CorruptFile(file.path, f"it has more than the {file.n_bytes} bytes expected")
        if file.sha256 and await self._sha256() != file.sha256:
            raise CorruptFile(file.path, "its sha256 is not the published one")

    async def _sha256(self) -> str:
        return self.digest.hexdigest() if self.digest is not None else await self.part.sha256()


class _Range:
    """A part of a file in memory."""

    def __init__(self, url: str, offset: int, n_bytes: int, on_bytes: Callable[[int], None]) -> None:
        self.content, self.n_wanted, self.n_bytes = np.empty(n_bytes, np.uint8), n_bytes, 0
        self._url, self._offset, self._on_bytes = url, offset, on_bytes

    @property
    def range_header(self) -> str:
        # With both ends, browsers send it to other sites without asking them first, which some hosts refuse.
        return f"bytes={self._offset + self.n_bytes}-{self._offset + self.n_wanted - 1}"

    def add(self, piece: Any) -> None:
        received = np.frombuffer(piece.to_bytes(), np.uint8)
        end = self.n_bytes + len(received)
        if end > self.n_wanted:
            raise DownloadFailed(self._url, "the server sent more than it was asked for")
        self.content[self.n_bytes : end] = received
        self.n_bytes = end
        self._on_bytes(len(received))

    def restart(self) -> None:
        raise DownloadFailed(self._url, "the server does not send parts of the file")


def _key(url: str, file: ModelFile) -> str:
    """The file's key in the store: its sha256, or a hash of URL and length if no sha256 is published."""
    return file.sha256 or hashlib.sha256(f"{url} {file.n_bytes}".encode()).hexdigest()


def _continues(response: Any, wanted: str) -> bool:
    """Whether the response begins where a Range begins. Content-Range may be hidden by CORS."""
    start = wanted.removeprefix("bytes=").partition("-")[0]
    content_range = response.headers.get("Content-Range")
    return response.status == 206 and (not content_range or str(content_range).startswith(f"bytes {start}-"))
