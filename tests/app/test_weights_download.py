"""Downloading, with a stand-in for the browser's `fetch`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.awaiting import run
from tympan.errors import DownloadFailed, UnknownModel

SITE = "https://example.org/models/"
CATALOGUE = b'{"models": [{"id": "demo", "path": "demo"}]}'


class JsError(Exception):
    def __init__(self, message: str) -> None:
        self.message = message


@dataclass
class Server:
    """What `fetch` answers: pieces by URL, an exception among them where the connection breaks."""

    files: dict[str, list[Any]] = field(default_factory=dict)
    status: int = 404  # of all others

    async def fetch(self, url: str) -> SimpleNamespace:
        if url.startswith("https://unreachable."):
            raise JsError("Failed to fetch")
        if url not in self.files:
            return SimpleNamespace(ok=False, status=self.status)
        pieces = iter(self.files[url])

        async def read() -> SimpleNamespace:
            piece = next(pieces, None)
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                return SimpleNamespace(done=True)
            return SimpleNamespace(done=False, value=SimpleNamespace(to_bytes=lambda: piece))

        reader = SimpleNamespace(read=read)
        return SimpleNamespace(ok=True, status=200, body=SimpleNamespace(getReader=lambda: reader))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def download(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, imported over the stand-ins."""
    js, ffi = ModuleType("js"), ModuleType("pyodide.ffi")
    js.fetch = server.fetch  # type: ignore[attr-defined]
    ffi.JsException = JsError  # type: ignore[attr-defined]
    for module in (js, ModuleType("pyodide"), ffi):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "tympan.weights.download", raising=False)
    yield importlib.import_module("tympan.weights.download")
    sys.modules.pop("tympan.weights.download")


def test_pieces_are_joined_and_reported(server: Server, download: Any) -> None:
    server.files[SITE + "demo/model.json"] = [b"abc", b"", b"de"]
    reports: list[int] = []
    content = run(download.Http(SITE + "demo").read("model.json", reports.append))
    assert content == b"abcde"
    assert reports == [3, 0, 2]


def test_address_without_a_manifest_is_no_model(download: Any) -> None:
    with pytest.raises(UnknownModel, match=r"example\.org/models/demo"):
        run(download.Http(SITE + "demo/").read("model.json", print))


def test_missing_weights_are_a_failed_download(download: Any) -> None:
    with pytest.raises(DownloadFailed, match="the server answered 404"):
        run(download.Http(SITE + "demo").read("lm-00001.safetensors", print))


def test_server_error_is_a_failed_download(server: Server, download: Any) -> None:
    server.status = 503
    with pytest.raises(DownloadFailed, match="503"):
        run(download.Http(SITE + "demo").read("model.json", print))


def test_no_network(download: Any) -> None:
    with pytest.raises(DownloadFailed, match="Failed to fetch"):
        run(download.Http("https://unreachable.example.org").read("model.json", print))


def test_connection_that_breaks_half_way(server: Server, download: Any) -> None:
    server.files[SITE + "demo/tokenizer.model"] = [b"abc", JsError("network error")]
    with pytest.raises(DownloadFailed, match=r"tokenizer\.model: network error"):
        run(download.Http(SITE + "demo").read("tokenizer.model", lambda n_bytes: None))


def test_an_id_is_looked_up_and_an_address_is_not(server: Server, download: Any) -> None:
    server.files[SITE + "catalogue.json"] = [CATALOGUE]

    def resolve(model: str) -> str:
        page_url = "https://example.org/index.html"
        return str(run(download.resolve(model, page_url, SITE + "catalogue.json")).url)

    assert resolve("demo") == resolve("") == SITE + "demo/"
    with pytest.raises(UnknownModel, match="tiny"):
        resolve("tiny")
    server.files.clear()
    assert resolve("./mine") == "https://example.org/mine/"
