"""An official checkpoint that the page downloads in parts, quantizes and stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.app.golden import GOLDEN, golden
from tests.page.rough_server import Fault, RoughServer, rough_server
from tests.page.tympan_page import BOOT_MS, TympanPage
from tympan.quantize.convert import quantize

pytestmark = pytest.mark.needs("playwright")

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = f"/kyutai/stt/resolve/{REVISION}/"
NAMES = ("config.json", "mimi_config.json", "model.safetensors", "mimi.safetensors", "tokenizer.model")
STORED = """
async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    const digests = [];
    for await (const handle of folder.values()) {
        const content = await (await handle.getFile()).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
        digests.push(Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""));
    }
    return digests;
}
"""


@pytest.fixture
def host() -> Iterator[RoughServer]:
    """A host with the golden checkpoint in the layout of the Hub."""
    files = {f"{FILES}{name}": (GOLDEN / name).read_bytes() for name in NAMES}
    listing = [{"path": name, "size": (GOLDEN / name).stat().st_size} for name in NAMES]
    files[f"/api/models/kyutai/stt/tree/{REVISION}"] = json.dumps(listing).encode()
    with rough_server(files) as server:
        yield server


@pytest.fixture
def context(context: BrowserContext, host: RoughServer) -> BrowserContext:
    """A context with the checkpoint in its catalogue."""
    entry = {
        "id": "own", "title": "From its own files", "languages": ["en"], "licence": "CC-BY 4.0",
        "attribution": "Kyutai", "notes": "Takes a minute.", "bytes": 3_000_000,
        "checkpoint": {"download_bytes": 5_000_000, "kept_bytes": {"q4": 3_000_000, "q8": 4_000_000}},
        "hub": {"host": host.url, "repository": "kyutai/stt", "revision": REVISION},
    }  # fmt: skip
    catalogue = json.dumps({"models": [entry]})
    context.route("**/models/catalogue.json", lambda route: route.fulfill(body=catalogue))
    return context


def test_checkpoint_is_quantized_and_stored_as_on_the_command_line(
    context: BrowserContext, site: str, host: RoughServer, tmp_path: Path
) -> None:
    host.faults[f"{FILES}model.safetensors"] = [Fault(), Fault(cut_at=400_000), Fault(status=503)]
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/?model=own&embeddings=q8&trace=1&backend=simd")
    expect(tympan.page.locator("#download")).to_be_visible(timeout=BOOT_MS)
    assert host.requests == []
    offer = tympan.page.inner_text("#offer")
    for fact in ("5 MB are downloaded from 127.0.0.1", "4 MB are stored", "Takes a minute."):
        assert fact in offer
    tympan.page.click("#download")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    codes = tympan.transcribe((GOLDEN / "input.wav").read_bytes())["codes"]
    expected = golden().expected["stream_codes"].T
    assert np.array_equal(codes[: len(expected)], expected)

    quantize(GOLDEN, tmp_path / "model", embeddings="q8")
    files = [path for path in (tmp_path / "model").iterdir() if path.name != "model.json"]
    stored = tympan.page.evaluate(STORED)
    assert {path.name for path in files if hashlib.sha256(path.read_bytes()).hexdigest() not in stored} == set()

    n_requests = len(host.requests)
    tympan.page.reload()
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    assert len(host.requests) == n_requests, "the stored model is loaded without a request"
