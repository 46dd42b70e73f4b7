"""The modules that download models, with a fake browser; and a page whose tests share GPU devices."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.app.fake_browser import AbortController, FakeModule, JsError, MemoryStore, Server
from tests.conftest import PyodidePage


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def modules(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules that use the browser, by name, imported with the fakes."""
    js, ffi = FakeModule("js"), FakeModule("pyodide.ffi")
    js.fetch, js.AbortController = server.fetch, AbortController  # type: ignore[attr-defined]
    js.ArrayBuffer = js.Uint8Array = SimpleNamespace(new=lambda content: content)  # type: ignore[attr-defined]
    ffi.JsException = JsError  # type: ignore[attr-defined]
    ffi.to_js = lambda value, **options: value  # type: ignore[attr-defined]
    for module in (js, ModuleType("pyodide"), ffi, FakeModule("pyodide_js")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    stores = ("blob_file", "store", "private_store", "cache_store", "store_selection")
    weights = (*stores, "body_reader", "download", "sources")
    names = ["tympan.javascript", *(f"tympan.weights.{name}" for name in weights)]
    names += ["tympan.checkpoint.remote", "tympan.checkpoint.heads", "tympan.checkpoint.source"]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    download = importlib.import_module("tympan.weights.download")
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0)
    monkeypatch.setattr(download, "STALL_S", 0.01)
    yield SimpleNamespace(**{name.rpartition(".")[2]: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def downloader(modules: SimpleNamespace, store: MemoryStore) -> Any:
    return modules.download.Downloader(store)


START_SHARING = """
import sys
from types import ModuleType

if "shared_gpu" not in sys.modules:
    sys.modules["shared_gpu"] = shared_gpu = ModuleType("shared_gpu")
    exec(compile(module_source, "shared_gpu", "exec"), shared_gpu.__dict__)
sys.modules["shared_gpu"].share(True)
"""
STOP_SHARING = """
from shared_gpu import share

share(False)
"""


@pytest.fixture
def gpu_page(pyodide_page: PyodidePage) -> Iterator[PyodidePage]:
    """The page of the session, in which models share GPU devices and compiled shaders; see shared_gpu.py."""
    pyodide_page.run(START_SHARING, module_source=(Path(__file__).parent / "shared_gpu.py").read_text("utf-8"))
    yield pyodide_page
    pyodide_page.run(STOP_SHARING)
