"""Downloads and the store, with fakes of the browser's `fetch` and storage."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.awaiting import run
from tympan.errors import BadModel, Cancelled, CorruptFile, DownloadFailed, StorageFull, UnknownModel
from tympan.weights.file import InMemory
from tympan.weights.info import ModelInfo
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
        start, status = 0, self.status
        if wanted and self.knows_ranges and status == 200:
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        edges = [start, *(edge for edge in self.pieces if edge > start), len(self.content)]
        pieces: list[Any] = [self.content[a:b] for a, b in pairwise(edges)]
        if self.cut_at is not None:
            pieces = [self.content[start : self.cut_at], Never() if self.stalls else JsError("network error")]
        content_range = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}" if status == 206 else None
        return SimpleNamespace(
            ok=status < 400,
            status=status,
            headers=SimpleNamespace(get=lambda name: content_range),
            body=SimpleNamespace(getReader=lambda: Reader(pieces)),
            arrayBuffer=lambda: resolved(SimpleNamespace(to_bytes=lambda: self.content)),
        )


async def resolved(value: Any) -> Any:
    return value


class Reader:
    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = iter(pieces)

    async def read(self) -> SimpleNamespace:
        piece = next(self.pieces, None)
        if isinstance(piece, Exception):
            raise piece
        if isinstance(piece, Never):
            await asyncio.Event().wait()
        if piece is None:
            return SimpleNamespace(done=True)
        return SimpleNamespace(done=False, value=SimpleNamespace(to_bytes=lambda: piece, length=len(piece)))

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

    def restart(self) -> None:
        self.stored.clear()

    def close(self) -> None:
        pass


@dataclass
class MemoryStore:
    """The store's interface, implemented with dicts."""

    parts: dict[str, bytearray] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    room_bytes: int = 1 << 30
    claimed_bytes: int = 1 << 30

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

    async def free_bytes(self) -> int:
        return self.claimed_bytes

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


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def modules(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """`download` and `sources`, imported with the fakes."""
    js, ffi = FakeModule("js"), FakeModule("pyodide.ffi")
    js.fetch, js.AbortController = server.fetch, AbortController  # type: ignore[attr-defined]
    ffi.JsException = JsError  # type: ignore[attr-defined]
    ffi.to_js = lambda value, **options: value  # type: ignore[attr-defined]
    for module in (js, ModuleType("pyodide"), ffi, FakeModule("pyodide_js")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    names = [f"tympan.weights.{name}" for name in ("blob_file", "store", "download", "sources")]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    download = importlib.import_module("tympan.weights.download")
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0)
    monkeypatch.setattr(download, "STALL_S", 0.01)
    yield SimpleNamespace(download=download, sources=importlib.import_module("tympan.weights.sources"))
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def downloader(modules: SimpleNamespace, store: MemoryStore) -> Any:
    return modules.download.Downloader(store)


def no_report(file: ModelFile = FILE) -> Progress:
    return Progress("download", file.n_bytes, lambda progress: None)


def fetch(downloader: Any, file: ModelFile = FILE, progress: Progress | None = None) -> bytes:
    stored = run(downloader.file(URL, file, progress or no_report(file)))
    return bytes(stored.read(0, stored.n_bytes))


def test_file_is_downloaded_in_chunks_and_stored(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(pieces=(10, 700))]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert progress.done_bytes == len(CONTENT)
    assert FILE.sha256 in store.kept
    server.answers.clear()
    assert fetch(downloader) == CONTENT
    assert server.ranges == [None], "it is downloaded once"


@pytest.mark.parametrize("cut_at", [0, 1, 500, len(CONTENT) - 1])
def test_broken_connection_is_resumed(server: Server, downloader: Any, cut_at: int) -> None:
    server.answers[URL] = [Answer(cut_at=cut_at), Answer()]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert server.ranges == [None, f"bytes={cut_at}-" if cut_at else None]
    assert progress.done_bytes == len(CONTENT)


def test_stalled_connection_is_resumed(server: Server, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=300, stalls=True), Answer()]
    assert fetch(downloader) == CONTENT
    assert server.ranges[-1] == "bytes=300-"


def test_partial_file_of_an_earlier_visit_is_resumed(server: Server, store: MemoryStore, downloader: Any) -> None:
    store.parts[FILE.sha256] = bytearray(CONTENT[:600])
    server.answers[URL] = [Answer()]
    progress = no_report()
    assert fetch(downloader, progress=progress) == CONTENT
    assert server.ranges == ["bytes=600-"]
    assert progress.done_bytes == len(CONTENT)


def test_complete_partial_file_is_only_verified(server: Server, store: MemoryStore, downloader: Any) -> None:
    store.parts[FILE.sha256] = bytearray(CONTENT)
    assert fetch(downloader) == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("answer", [Answer(knows_ranges=False), Answer(status=416)], ids=["no ranges", "416"])
def test_download_restarts_if_the_server_cannot_resume(server: Server, downloader: Any, answer: Answer) -> None:
    server.answers[URL] = [Answer(cut_at=500), answer, Answer()]
    assert fetch(downloader) == CONTENT


def test_corrupt_download_is_repeated_once(server: Server, store: MemoryStore, downloader: Any) -> None:
    wrong = bytes(len(CONTENT))
    server.answers[URL] = [Answer(wrong), Answer()]
    assert fetch(downloader) == CONTENT
    server.answers[URL] = [Answer(wrong), Answer(wrong), Answer()]
    store.parts.clear()
    store.kept.clear()
    with pytest.raises(CorruptFile, match=r"lm-00001\.safetensors is damaged: its sha256"):
        fetch(downloader)
    assert store.parts[FILE.sha256] == b"", "no corrupt bytes are left"


def test_corrupt_partial_file_is_downloaded_again(server: Server, store: MemoryStore, downloader: Any) -> None:
    store.parts[FILE.sha256] = bytearray(600)
    server.answers[URL] = [Answer()]
    assert fetch(downloader) == CONTENT
    assert server.ranges == ["bytes=600-", None]


def test_oversized_response_is_rejected(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(CONTENT * 100, pieces=tuple(range(0, 100 * len(CONTENT), 512)))]
    with pytest.raises(CorruptFile, match="more than the 1024 bytes"):
        fetch(downloader)


def test_download_fails_after_repeated_breaks(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=500), Answer(cut_at=500)]
    with pytest.raises(DownloadFailed, match=r"network error, after 500 of 1024 bytes"):
        fetch(downloader)
    assert store.parts[FILE.sha256] == CONTENT[:500], "the next visit resumes there"


def test_only_transient_errors_are_retried(server: Server, downloader: Any) -> None:
    server.answers[URL] = [Answer(status=503), Answer()]
    assert fetch(downloader) == CONTENT
    with pytest.raises(DownloadFailed, match="the server answered 404"):
        run(downloader.file(URL + "x", ModelFile("x", "lm", 5, "0a" * 32), no_report()))
    assert len(server.ranges) == 3


def test_no_network(downloader: Any) -> None:
    with pytest.raises(DownloadFailed, match="Failed to fetch"):
        run(downloader.file("https://unreachable.example.org/x", FILE, no_report()))
    with pytest.raises(DownloadFailed, match="Failed to fetch"):
        run(downloader.text("https://unreachable.example.org/x"))


def test_full_storage(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(pieces=(512,))]
    store.claimed_bytes = 1000
    with pytest.raises(StorageFull) as failure:
        fetch(downloader)
    assert (failure.value.needed_bytes, failure.value.free_bytes) == (1024, 1000)
    store.claimed_bytes, store.room_bytes = 1 << 30, 600  # the browser's estimate is wrong
    with pytest.raises(StorageFull):
        fetch(downloader)
    store.room_bytes = 1 << 30
    assert fetch(downloader) == CONTENT


def test_storage_full_on_commit(
    server: Server, store: MemoryStore, downloader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(key: str) -> None:
        raise JsError("full", "QuotaExceededError")

    server.answers[URL] = [Answer()]
    monkeypatch.setattr(store, "commit", commit)
    with pytest.raises(StorageFull):
        fetch(downloader)


def test_text_that_cannot_be_stored_is_ignored(
    store: MemoryStore, downloader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write_text(key: str, text: bytes) -> None:
        raise JsError("full", "QuotaExceededError")

    run(downloader.store_text("listing", b"[]"))
    assert run(store.read_text("listing")) == b"[]"
    monkeypatch.setattr(store, "write_text", write_text)
    run(downloader.store_text("listing", b"[{}]"))
    assert run(store.read_text("listing")) == b"[]"


def test_cancel(server: Server, store: MemoryStore, downloader: Any) -> None:
    server.answers[URL] = [Answer(cut_at=500), Answer()]
    progress = Progress("download", FILE.n_bytes, lambda progress: downloader.cancel(), clock=iter(range(99)).__next__)
    with pytest.raises(Cancelled):
        fetch(downloader, progress=progress)
    store.parts[FILE.sha256] = bytearray(CONTENT[:600])
    with pytest.raises(Cancelled):
        fetch(downloader)


def test_file_without_published_hash_has_its_header_checked(server: Server, downloader: Any) -> None:
    header = b'{"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
    good = len(header).to_bytes(8, "little") + header + b"abcd"
    file = ModelFile("mimi.safetensors", "mimi", len(good), "")
    server.answers[URL] = [Answer(b"<" * len(good)), Answer(good)]
    assert fetch(downloader, file) == good
    server.answers[URL] = [Answer(b"<" * (len(good) + 1))]
    with pytest.raises(CorruptFile, match="does not fit into"):
        fetch(downloader, ModelFile("mimi.safetensors", "mimi", len(good) + 1, ""))


CATALOGUE = {
    "models": [
        {"id": "demo", "path": "demo"},
        {
            "id": "large", "title": "Large", "languages": ["en"], "licence": "CC-BY 4.0", "attribution": "Somebody",
            "notes": "Good.", "bytes": 900, "config": {}, "mimi_config": {},
            "files": [{"path": "a.gguf", "role": "lm"}],
            "hub": {"host": "https://hub.example", "repository": "owner/name", "revision": "main"},
        },
    ]
}  # fmt: skip


@pytest.fixture
def find(modules: SimpleNamespace, server: Server, downloader: Any) -> Callable[[str], Any]:
    server.answers[SITE + "catalogue.json"] = [Answer(json.dumps(CATALOGUE).encode())]

    def find(model: str) -> Any:
        page_url = "https://example.org/index.html"
        return run(modules.sources.resolve(model, page_url, SITE + "catalogue.json", downloader))

    return find


def test_ids_are_looked_up_and_urls_are_not(server: Server, find: Callable[[str], Any]) -> None:
    assert find("demo").url == find("").url == SITE + "demo/"
    with pytest.raises(UnknownModel, match="tiny"):
        find("tiny")
    server.answers.clear()
    assert find("./mine").url == "https://example.org/mine/"


def test_url_without_a_manifest_is_not_a_model(server: Server, find: Callable[[str], Any]) -> None:
    with pytest.raises(UnknownModel, match=r"example\.org/models/demo"):
        run(find("demo").manifest())
    server.answers[SITE + "demo/model.json"] = [Answer(status=500)]
    with pytest.raises(DownloadFailed, match="500"):
        run(find("demo").manifest())
    server.answers[SITE + "demo/model.json"] = [Answer(b"<html>")]
    with pytest.raises(BadModel):
        run(find("demo").manifest())


def test_hub_model_is_offered_without_a_request_to_the_hub(server: Server, find: Callable[[str], Any]) -> None:
    offer = run(find("large").offer())
    assert (offer.info.title, offer.info.licence, offer.info.source, offer.host) == (
        "Large",
        "CC-BY 4.0",
        "Somebody",
        "hub.example",
    )
    assert (offer.n_bytes, offer.missing_bytes) == (900, 900)
    assert offer.must_ask("https://example.org/")
    assert len(server.ranges) == 1, "only the catalogue was downloaded"


@pytest.mark.parametrize(
    ("missing_bytes", "host", "must_ask"),
    [
        (0, "elsewhere.example", False),
        (1, "elsewhere.example", True),
        (16_000_000, "example.org", False),
        (600_000_000, "example.org", True),
    ],
)
def test_when_consent_is_needed(modules: SimpleNamespace, missing_bytes: int, host: str, must_ask: bool) -> None:
    offer = modules.sources.Offer(ModelInfo(), 600_000_000, missing_bytes, host)
    assert offer.must_ask("https://example.org/tympan/") == must_ask


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


def test_plain_http_page_stores_in_memory(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over plain http there is neither `caches` nor `navigator.storage`; importing such a name would fail."""
    for name in ("blob_file", "store"):
        monkeypatch.delitem(sys.modules, f"tympan.weights.{name}")
    js = ModuleType("js")
    for name in ("FileReaderSync", "Object", "Promise", "Response", "Uint8Array", "location"):
        setattr(js, name, SimpleNamespace(fromEntries=None))
    js.navigator, js.Blob = SimpleNamespace(), FakeBlob  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "js", js)
    monkeypatch.setattr(sys.modules["pyodide.ffi"], "to_js", lambda value, **options: Piece(value))
    store = run(importlib.import_module("tympan.weights.store").open_store())
    run(store.write_text("listing", b"[]"))
    assert run(store.read_text("listing")) == b"[]"
    assert run(store.read_text("other")) is None
    assert run(store.free_bytes()) > 1 << 30


class Piece(list[Any]):
    """A JavaScript array of bytes or of Blobs."""

    @property
    def length(self) -> int:
        return len(self)
