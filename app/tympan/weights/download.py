"""Fetches models over HTTP: in pieces, continued where a connection broke, checked on arrival, kept in the store."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Any

from js import AbortController, Object, fetch
from pyodide.ffi import JsException, to_js

from tympan.errors import BadModel, Cancelled, CorruptFile, DownloadFailed, StorageFull, UnknownModel
from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile
from tympan.weights.model import open_tensors
from tympan.weights.progress import Progress
from tympan.weights.store import Part, Store

ATTEMPTS = 4  # in a row that bring no byte
FIRST_PAUSE_S = 0.5  # before the second attempt; doubled before each further one
STALL_S = 30.0  # without a byte, after which a connection counts as broken

_REHASH_BYTES = 1 << 20
_GONE = (404, 410)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others a moment later


class Downloader:
    """Fetches for one model, until it is cancelled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._abort = AbortController.new()

    def cancel(self) -> None:
        """Make whatever is going on raise Cancelled. What has come is kept."""
        self._abort.abort()

    async def text(self, url: str, missing: UnknownModel | None = None) -> bytes:
        """Download something small. missing: raised instead of DownloadFailed where there is nothing at `url`."""
        try:
            response = await self._fetch(url)
            if not response.ok:
                if missing is not None and response.status in _GONE:
                    raise missing
                raise DownloadFailed(url, f"the server answered {response.status}")
            return bytes((await response.arrayBuffer()).to_bytes())
        except JsException as error:  # no network, or a refused origin
            raise self._failure(url, error) from error

    async def has(self, url: str, file: ModelFile) -> bool:
        """Whether the file is in the store, whole."""
        return await self.store.whole(_key(url, file), file) is not None

    async def set_note(self, key: str, text: BytesLike) -> None:
        """Keep a small text for later visits, where there is room for it."""
        with suppress(JsException, DownloadFailed):
            await self.store.set_note(key, text)

    async def file(self, url: str, file: ModelFile, progress: Progress) -> File:
        """The file from the store, or else from `url` through the store. One that is damaged is fetched once more.

        Raises CorruptFile, DownloadFailed, StorageFull, Cancelled.
        """
        key = _key(url, file)
        async with self.store.locked(key):
            whole = await self.store.whole(key, file)
            if whole is not None:
                progress.skip(file.n_bytes)
                return await self.store.hold(key, whole)
            try:
                whole = await self._arrive(url, key, file, progress)
            except CorruptFile:
                whole = await self._arrive(url, key, file, progress)
            return await self.store.hold(key, whole)

    async def _arrive(self, url: str, key: str, file: ModelFile, progress: Progress) -> File:
        """Complete the part that is in the store, and check it. A bad one is removed: raises CorruptFile."""
        needed_bytes = progress.total_bytes - progress.done_bytes
        part = await self.store.part(key)
        arrival = _Arrival(part, progress)
        try:
            needed_bytes -= part.n_bytes
            await self._rehash(arrival)
            if (free_bytes := await self.store.free_bytes()) < needed_bytes:
                raise StorageFull(needed_bytes, free_bytes)
            await self._complete(url, file, arrival)
            arrival.check(file)
        except CorruptFile:
            arrival.restart()
            raise
        except JsException as error:
            if error.name == "QuotaExceededError":
                raise StorageFull(needed_bytes, await self.store.free_bytes()) from error
            raise self._failure(url, error) from error
        finally:
            part.close()
        try:
            await self.store.keep(key)
        except JsException as error:  # a cache takes its room only now
            raise StorageFull(needed_bytes, await self.store.free_bytes()) from error
        whole = await self.store.whole(key, file)
        if whole is None:
            raise CorruptFile(file.path, "the browser did not keep it")
        if not file.sha256:
            await self._check_structure(whole, key, file, progress)
        return whole

    async def _check_structure(self, whole: File, key: str, file: ModelFile, progress: Progress) -> None:
        """Check a file that nobody has published a sha256 of, as far as it tells of itself."""
        if file.role == "tokenizer":
            return  # it is read whole right afterwards
        try:
            open_tensors(whole, file.path)
        except BadModel as error:
            part = await self.store.part(key)
            _Arrival(part, progress).restart()
            part.close()
            raise CorruptFile(file.path, error.reason) from error

    async def _rehash(self, arrival: _Arrival) -> None:
        """Count and hash what an earlier visit left in the store."""
        for offset in range(0, arrival.part.n_bytes, _REHASH_BYTES):
            n_bytes = min(_REHASH_BYTES, arrival.part.n_bytes - offset)
            arrival.digest.update(arrival.part.content(offset, n_bytes))
            arrival.progress.skip(n_bytes)
            await asyncio.sleep(0)
            if self._abort.signal.aborted:
                raise Cancelled

    async def _complete(self, url: str, file: ModelFile, arrival: _Arrival) -> None:
        n_failures = 0
        while arrival.part.n_bytes < file.n_bytes:
            before_bytes = arrival.part.n_bytes
            reason = await self._request(url, file, arrival)
            if arrival.part.n_bytes >= file.n_bytes:
                return
            n_failures = 0 if arrival.part.n_bytes > before_bytes else n_failures + 1
            if n_failures == ATTEMPTS:
                raise DownloadFailed(url, f"{reason}, after {arrival.part.n_bytes} of {file.n_bytes} bytes")
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** max(0, n_failures - 1))
            if self._abort.signal.aborted:
                raise Cancelled

    async def _request(self, url: str, file: ModelFile, arrival: _Arrival) -> str:
        """Fetch what is missing, as far as it comes. Returns why it ended, should anything still be missing."""
        start = arrival.part.n_bytes
        try:
            response = await self._fetch(url, **({"Range": f"bytes={start}-"} if start else {}))
            if response.status == 416 or (response.ok and start and not _continues(response, start)):
                arrival.restart()  # the server knows no ranges, or this file is another by now
            if response.status in _PASSING or response.status == 416:
                return f"the server answered {response.status}"
            if not response.ok:
                raise DownloadFailed(url, f"the server answered {response.status}")
            reader = response.body.getReader()
            try:
                while arrival.part.n_bytes <= file.n_bytes:
                    piece = await asyncio.wait_for(_read(reader), STALL_S)
                    if piece.done:
                        return "the connection ended early"
                    arrival.add(piece.value)
            finally:
                await _end(reader)
        except TimeoutError:
            return f"nothing came for {STALL_S:.0f} s"
        except JsException as error:
            if error.name in ("AbortError", "QuotaExceededError"):
                raise
            return str(error.message)
        return ""

    async def _fetch(self, url: str, **headers: str) -> Any:
        options = {"headers": headers, "signal": self._abort.signal}
        return await fetch(url, to_js(options, dict_converter=Object.fromEntries))

    def _failure(self, url: str, error: JsException) -> Cancelled | DownloadFailed:
        return Cancelled() if error.name == "AbortError" else DownloadFailed(url, str(error.message))


class _Arrival:
    """A part with the hash of what is in it."""

    def __init__(self, part: Part, progress: Progress) -> None:
        self.part, self.progress = part, progress
        self.digest = hashlib.sha256()

    def add(self, piece: Any) -> None:
        """piece: a Uint8Array."""
        content = piece.to_bytes()
        self.part.append(piece)
        self.digest.update(content)
        self.progress.add(len(content))

    def restart(self) -> None:
        """Begin anew, with nothing."""
        self.progress.skip(-self.part.n_bytes)
        self.part.restart()
        self.digest = hashlib.sha256()

    def check(self, file: ModelFile) -> None:
        """Raise CorruptFile unless this is the file that the manifest means."""
        if self.part.n_bytes != file.n_bytes:
            raise CorruptFile(file.path, f"it has more than the {file.n_bytes} bytes expected")
        if file.sha256 and self.digest.hexdigest() != file.sha256:
            raise CorruptFile(file.path, "its sha256 is not the published one")


def _key(url: str, file: ModelFile) -> str:
    """Where the store has a file: under its content, or where nobody tells its hash under its address."""
    return file.sha256 or hashlib.sha256(f"{url} {file.n_bytes}".encode()).hexdigest()


async def _read(reader: Any) -> Any:
    return await reader.read()


async def _end(reader: Any) -> None:
    """Let go of a connection that may have broken."""
    with suppress(JsException):
        await reader.cancel()


def _continues(response: Any, start: int) -> bool:
    """Whether an answer begins at byte `start`. Another site's may hide its Content-Range."""
    content_range = response.headers.get("Content-Range")
    return response.status == 206 and (not content_range or str(content_range).startswith(f"bytes {start}-"))
