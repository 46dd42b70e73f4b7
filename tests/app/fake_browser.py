"""Fakes of the browser's `fetch` and storage."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.awaiting import run
from tympan.weights.file import InMemory
from tympan.weights.manifest import ModelFile
from tympan.weights.progress import Progress

SITE = "https://example.org/models/"
URL = SITE + "demo/lm-00001.safetensors"
CONTENT = bytes(range(256)) * 4
FILE = ModelFile("lm-00001.safetensors", "lm", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class JsError(Exception):
    def __init__(self, message: str, name: str = "TypeError") -> None:
        self.message, self.name = message, name


class Never:
    """A chunk that never arrives."""


@dataclass
class Answer:
    """A response. cut_at: offset where the connection breaks. knows_ranges: whether Range is supported."""

    content: bytes = CONTENT
    pieces: tuple[int, ...] = ()  # offsets
    cut_at: int | None = None
    stalls: bool = False
    status: int = 200
    knows_ranges: bool = True

    def response(self, wanted: str | None) -> SimpleNamespace:
        start, end, status = 0, len(self.content), self.status
        if wanted and self.knows_ranges and status == 200:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), int(last) + 1 if last else end, 206
        edges = [start, *(edge for edge in self.pieces if start < edge < end), end]
        pieces: list[Any] = [self.content[a:b] for a, b in pairwise(edges)]
        if self.cut_at is not None and start <= self.cut_at < end:
            pieces = [self.content[start : self.cut_at], Never() if self.stalls else JsError("network error")]
        content_range = f"bytes {start}-{end - 1}/{len(self.content)}" if status == 206 else None
        return SimpleNamespace(
            ok=status < 400,
            status=status,
            headers=SimpleNamespace(get=lambda name: content_range),
            body=SimpleNamespace(getReader=lambda options: Reader(pieces)),
            arrayBuffer=lambda: resolved(SimpleNamespace(to_bytes=lambda: self.content)),
        )


async def resolved(value: Any) -> Any:
    return value


class Reader:
    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = iter(pieces)

    async def read(self, view: Any, options: Any) -> SimpleNamespace:
        piece = next(self.pieces, None)
        if isinstance(piece, Exception):
            raise piece
        if isinstance(piece, Never):
            await asyncio.Event().wait()
        if piece is None:
            return SimpleNamespace(done=True, value=None)
        return SimpleNamespace(done=False, value=SimpleNamespace(to_bytes=lambda: piece, length=len(piece), buffer=b""))

    async def cancel(self) -> None:
        raise JsError("already broken")


@dataclass
class Server:
    """Responses by URL; the last one is repeated. `ranges` records the requested ranges."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    aborted: bool = False

    async def fetch(self, url: str, options: dict[str, Any]) -> SimpleNamespace:
        if options["signal"].aborted:
            raise JsError("aborted", "AbortError")
        if url.startswith("https://unreachable."):
            raise JsError("Failed to fetch")
        answers = self.answers.get(url, [Answer(status=404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        wanted = options["headers"].get("Range")
        self.ranges.append(wanted)
        return answer.response(wanted)


class MemoryPart:
    def __init__(self, room_bytes: int, content: bytearray) -> None:
        self.room_bytes, self.stored = room_bytes, content

    @property
    def n_bytes(self) -> int:
        return len(self.stored)

    def append(self, piece: Any) -> None:
        if self.n_bytes + piece.length > self.room_bytes:
            raise JsError("full", "QuotaExceededError")
        self.stored += piece.to_bytes()

    def content(self, offset: int, n_bytes: int) -> bytes:
        return bytes(self.stored[offset : offset + n_bytes])

    def append_array(self, array: Any) -> None:
        self.append(SimpleNamespace(length=array.nbytes, to_bytes=array.tobytes))

    def truncate(self, n_bytes: int) -> None:
        del self.stored[n_bytes:]

    async def sha256(self) -> str:
        return hashlib.sha256(self.stored).hexdigest()

    def close(self) -> None:
        pass


@dataclass
class MemoryStore:
    """The store's interface, implemented with dicts."""

    parts: dict[str, bytearray] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    room_bytes: int = 1 << 30
    claimed_bytes: int = 1 << 30
    device_bytes: int | None = None
    hashes: bool = True

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        yield

    async def find(self, key: str, file: ModelFile) -> InMemory | None:
        content = bytes(self.parts[key]) if key in self.kept else b""
        return InMemory(content) if content and len(content) == file.n_bytes else None

    async def open_exclusive(self, key: str, file: InMemory) -> InMemory:
        return file

    async def part(self, key: str) -> MemoryPart:
        self.kept.discard(key)
        return MemoryPart(self.room_bytes, self.parts.setdefault(key, bytearray()))

    async def commit(self, key: str) -> None:
        self.kept.add(key)

    async def write(self, key: str, content: Any) -> None:
        part = await self.part(key)
        part.truncate(0)
        part.append_array(content)
        await self.commit(key)

    async def free_bytes(self) -> int:
        return self.claimed_bytes

    def device_memory_bytes(self) -> int | None:
        return self.device_bytes

    async def read_text(self, key: str) -> bytes | None:
        return bytes(self.parts[key]) if key in self.parts else None

    async def write_text(self, key: str, text: bytes) -> None:
        self.parts[key] = bytearray(text)


class AbortController:
    def __init__(self) -> None:
        self.signal = SimpleNamespace(aborted=False)

    @classmethod
    def new(cls) -> AbortController:
        return cls()

    def abort(self) -> None:
        self.signal.aborted = True


class FakeModule(ModuleType):
    """A module that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return SimpleNamespace(fromEntries=None)


class FakeBlob:
    def __init__(self, pieces: list[Any]) -> None:
        self.content: bytes = b"".join(
            piece.content if isinstance(piece, FakeBlob) else bytes(piece) for piece in pieces
        )
        self.size = len(self.content)
        self.arrayBuffer = lambda: resolved(SimpleNamespace(to_bytes=lambda: self.content))

    @classmethod
    def new(cls, pieces: list[Any]) -> FakeBlob:
        return cls(pieces)


class Piece(list[Any]):
    """A JavaScript array of bytes or of Blobs."""

    @property
    def length(self) -> int:
        return len(self)


def no_report(file: ModelFile = FILE) -> Progress:
    return Progress("download", file.n_bytes, lambda progress: None)


def fetch(downloader: Any, file: ModelFile = FILE, progress: Progress | None = None) -> bytes:
    stored = run(downloader.file(URL, file, progress or no_report(file)))
    return bytes(stored.read(0, stored.n_bytes))
