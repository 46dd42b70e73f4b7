"""Storage in the Cache API, or in memory, for browsers and pages without an origin private file system."""

from __future__ import annotations

from typing import Any

from js import Blob, Response, location
from numpy.typing import NDArray
from pyodide.ffi import to_js

from tympan.javascript import bytes_of, sha256_of, uint8_array
from tympan.weights.blob_file import BlobFile
from tympan.weights.file import BytesLike, File
from tympan.weights.manifest import ModelFile
from tympan.weights.store import Part, Store


class CacheStore(Store):
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
        blob = await self._blob(key)
        return await bytes_of(blob) if blob is not None else None

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
        self.append(uint8_array(array))

    def truncate(self, n_bytes: int) -> None:
        self._pieces = [self.blob().slice(0, n_bytes)] if n_bytes else []
        self.n_bytes = n_bytes

    async def sha256(self) -> str:
        return await sha256_of(await self.blob().arrayBuffer())

    def close(self) -> None:
        """Do nothing: Blobs need no closing."""

    def blob(self) -> Any:
        return Blob.new(to_js(self._pieces))


def _cache_url(key: str) -> str:
    """A URL as the cache's key; it is never requested."""
    return f"{location.origin}/models/{key}"
