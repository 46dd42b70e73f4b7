"""Storage that is full or missing, with a fake browser."""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.app.fake_browser import CONTENT, URL, Answer, FakeBlob, JsError, MemoryStore, Piece, Server, fetch
from tests.awaiting import run
from tympan.errors import StorageFull


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


def test_handle_of_a_cancelled_download_is_closed(modules: SimpleNamespace) -> None:
    """Until it is closed, the browser refuses to open the file again."""
    is_opened, is_closed = asyncio.Event(), asyncio.Event()

    async def create() -> SimpleNamespace:
        await is_opened.wait()
        return SimpleNamespace(getSize=lambda: 0, close=is_closed.set)

    async def file_handle(name: str, options: Any) -> SimpleNamespace:
        return SimpleNamespace(createSyncAccessHandle=create)

    async def cancel() -> None:
        store = modules.private_store.PrivateStore(SimpleNamespace(getFileHandle=file_handle))
        download = asyncio.ensure_future(store.write_text("key", b"text"))
        await asyncio.sleep(0)
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
        is_opened.set()
        await asyncio.wait_for(is_closed.wait(), timeout=10)

    run(cancel())


def test_plain_http_page_stores_in_memory(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over plain http there is neither `caches` nor `navigator.storage`; importing such a name would fail."""
    stores = ("blob_file", "store", "private_store", "cache_store", "store_selection")
    for name in ("tympan.javascript", *(f"tympan.weights.{store}" for store in stores)):
        monkeypatch.delitem(sys.modules, name)
    js = ModuleType("js")
    for name in ("FileReaderSync", "Object", "Promise", "Response", "Uint8Array", "location"):
        setattr(js, name, SimpleNamespace(fromEntries=None))
    js.navigator, js.Blob = SimpleNamespace(), FakeBlob  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "js", js)
    monkeypatch.setattr(sys.modules["pyodide.ffi"], "to_js", lambda value, **options: Piece(value))
    store = run(importlib.import_module("tympan.weights.store_selection").open_store())
    run(store.write_text("listing", b"[]"))
    assert run(store.read_text("listing")) == b"[]"
    assert run(store.read_text("other")) is None
    assert run(store.free_bytes()) > 1 << 30
