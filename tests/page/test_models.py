"""Models from other sites: confirmation, downloads over unreliable connections, storage, and both formats."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect
from safetensors.numpy import load_file, save

from tests.app.test_weights_mimi_names import to_hf
from tests.page.rough_server import Fault, RoughServer, rough_server
from tests.page.tympan_page import BOOT_MS, TympanPage, change_engine
from tympan.quantize.convert import quantize
from tympan.quantize.gguf import write_gguf
from tympan.weights.q4 import Q4Matrix

pytestmark = pytest.mark.needs("playwright")

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
SOUND = (GOLDEN / "input.wav").read_bytes()
REPOSITORY = "somebody/tiny"
FILES = {"lm": "tiny-q4_0.gguf", "mimi": "mimi-encoder.safetensors", "tokenizer": "tokenizer.model"}
MIMI = f"/{REPOSITORY}/resolve/main/{FILES['mimi']}"  # the largest of them, 1.4 MB
# The browser deletes a file while it is read.
LOSE = """
from tympan.weights.blob_file import PrivateFile

read = PrivateFile.read

def read_closed(file, *span):
    if file.access is not None:
        file.access.close()
    return read(file, *span)

PrivateFile.read = read_closed

"""
# As in Firefox until the user has answered.
ASKS_TO_PERSIST = "() => { StorageManager.prototype.persist = () => new Promise(() => {}); }"

DAMAGE = """
async (name) => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    const file = await folder.getFileHandle(name);
    const position = (await file.getFile()).size - 1000;
    const writable = await file.createWritable({ keepExistingData: true });
    await writable.write({ type: "write", position, data: new Uint8Array(1000) });
    await writable.close();
}
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A quantized golden checkpoint, as a model directory and in the layout of the released model."""
    folder = tmp_path_factory.mktemp("published")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    for path in GOLDEN.iterdir():
        (checkpoint / path.name).symlink_to(path)
    config = json.loads((GOLDEN / "config.json").read_text()) | {"extra_heads_num_heads": 0}
    weights = {n: t for n, t in load_file(GOLDEN / "model.safetensors").items() if not n.startswith("extra_heads")}
    (checkpoint / "config.json").unlink()
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors").write_bytes(save(weights))
    quantize(checkpoint, folder / "a")
    files = {f"/a/{path.name}": path.read_bytes() for path in (folder / "a").iterdir()}

    tensors = load_file(folder / "a" / "lm-00001.safetensors")
    lm: dict[str, Any] = {}
    for name in sorted({name.removesuffix(".q4").removesuffix(".scale") for name in tensors}):
        is_q4 = f"{name}.q4" in tensors
        lm[name] = (
            Q4Matrix(tensors[f"{name}.q4"], tensors[f"{name}.scale"], weights[name].shape[1])
            if is_q4
            else tensors[name]
        )
    write_gguf(folder / FILES["lm"], lm)
    mimi_config = json.loads((GOLDEN / "mimi_config.json").read_text())
    mimi = to_hf(load_file(folder / "a" / "mimi-00001.safetensors"), mimi_config["transformer"]["num_heads"])
    contents = {
        FILES["lm"]: (folder / FILES["lm"]).read_bytes(),
        FILES["mimi"]: save(mimi),
        FILES["tokenizer"]: (GOLDEN / "tokenizer.model").read_bytes(),
    }
    listing = [
        {"path": path, "size": len(content), "lfs": {"oid": hashlib.sha256(content).hexdigest()}}
        for path, content in contents.items()
    ]
    del listing[2]["lfs"]  # as for a small file outside of LFS
    files |= {f"/{REPOSITORY}/resolve/main/{path}": content for path, content in contents.items()}
    entry = {
        "id": "tiny", "title": "Tiny", "languages": ["fr"], "licence": "CC-BY 4.0", "attribution": "By Somebody",
        "notes": "Means nothing.", "bytes": sum(map(len, contents.values())), "config": config,
        "mimi_config": mimi_config, "hub": {"host": "HOST", "repository": REPOSITORY, "revision": "main"},
        "files": [{"path": path, "role": role} for role, path in FILES.items()],
    }  # fmt: skip
    files[f"/api/models/{REPOSITORY}/tree/main"] = json.dumps(listing).encode()
    files["/catalogue.json"] = json.dumps({"models": [entry]}).encode()
    return files


@pytest.fixture
def rough(published: dict[str, bytes]) -> Iterator[RoughServer]:
    with rough_server(published) as server:
        yield server


@pytest.fixture
def context(context: BrowserContext, rough: RoughServer) -> BrowserContext:
    """A context with the rough server's model in its catalogue."""
    catalogue = rough.files["/catalogue.json"].decode().replace("HOST", rough.url)
    context.route("**/models/catalogue.json", lambda route: route.fulfill(body=catalogue))
    return context


def opened(context: BrowserContext, url: str) -> TympanPage:
    """The page when it asks to confirm a download."""
    tympan = TympanPage(context.new_page())
    tympan.page.goto(url)
    expect(tympan.page.locator("#download")).to_be_visible(timeout=BOOT_MS)
    return tympan


def first_byte(wanted: str) -> int:
    """First byte of a Range. Bytes that the browser had not delivered when the connection broke are requested again."""
    return int(wanted.removeprefix("bytes=").removesuffix("-") or 0)


def transcribed(tympan: TympanPage) -> dict[str, Any]:
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    result = tympan.transcribe(SOUND)
    return {key: result[key] for key in ("text", "codes", "tokens", "words")}


def test_gguf_equals_safetensors_and_downloads_need_confirmation(
    context: BrowserContext, site: str, rough: RoughServer
) -> None:
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    assert tympan.state == "idle"
    assert rough.requests == []
    offer = tympan.page.inner_text("#offer")
    for fact in ("Tiny", "fr", "CC-BY 4.0", "By Somebody", "MB from 127.0.0.1"):
        assert fact in offer
    tympan.page.evaluate(ASKS_TO_PERSIST)
    tympan.page.click("#download")
    from_gguf = transcribed(tympan)
    assert "from 127.0.0.1" in tympan.page.inner_text("#model")
    assert len(rough.requests) == 4, "the listing and three files"

    tympan.page.reload()
    assert transcribed(tympan) == from_gguf
    assert len(rough.requests) == 4, "stored files are not requested again"

    tympan.page.click("#models summary")
    tympan.page.fill("#address", f"{rough.url}/a")
    tympan.page.press("#address", "Enter")
    tympan.page.click("#download")
    expect(tympan.page.locator("#model p").first).to_have_text(re.compile(r"^a · \d"))
    assert transcribed(tympan) == from_gguf

    assert "MB of storage on your device" in tympan.page.inner_text("#stored")
    tympan.page.click("#delete-models")
    expect(tympan.page.locator("#stored")).to_contain_text(re.compile("uses [01] MB"))  # Firefox counts its databases
    tympan.page.reload()
    expect(tympan.page.locator("#download")).to_be_visible(timeout=BOOT_MS)


def test_download_survives_cuts_wrong_bytes_and_a_closed_page(
    context: BrowserContext, site: str, rough: RoughServer
) -> None:
    rough.faults[MIMI] = [Fault(cut_at=700_000, pause_s=0.1), Fault(status=503), Fault(pause_s=0.2)]
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    expect(tympan.page.locator("#status")).to_contain_text("MB/s")
    expect(tympan.page.locator("#status")).to_contain_text("left")
    rough.wait_for(FILES["mimi"], 3)
    assert 0 < first_byte(rough.asked_for(FILES["mimi"])[-1]) <= 700_000
    tympan.page.close()  # in the middle of the third answer

    rough.faults[MIMI] = [Fault(flip=1_300_000), Fault(knows_ranges=False)]
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    *_, resumed, restarted = rough.asked_for(FILES["mimi"])
    assert first_byte(resumed) > 0
    assert restarted == ""
    assert rough.asked_for(FILES["tokenizer"]) == [""], "complete files are not fetched again"


def test_failed_download_is_reported_and_can_be_retried(context: BrowserContext, site: str, rough: RoughServer) -> None:
    rough.faults[MIMI] = [Fault(flip=7), Fault(flip=7), Fault(status=404)] + 10 * [Fault(cut_at=100_000)]
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    for message in ("sha256", "404", "of 1412704 bytes"):
        expect(tympan.page.locator("#error")).to_contain_text(message, timeout=BOOT_MS)
        assert FILES["mimi"] in tympan.error
        assert tympan.state == "error"
        if message == "of 1412704 bytes":
            rough.faults.clear()
        tympan.page.click("#error button")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)


def test_retry_does_not_confirm_a_download(context: BrowserContext, site: str, rough: RoughServer) -> None:
    rough.faults["/a/model.json"] = [Fault(status=500)]
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/?model={rough.url}/a")
    tympan.wait_for("error", timeout_ms=BOOT_MS)
    tympan.page.click("#error button")
    expect(tympan.page.locator("#download")).to_be_visible()
    assert {path for path, _ in rough.requests} == {"/a/model.json"}


def test_cancelled_download_resumes(context: BrowserContext, site: str, rough: RoughServer) -> None:
    rough.faults[MIMI] = [Fault(pause_s=0.3)]
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    expect(tympan.page.locator("#status")).to_contain_text("MB/s")
    tympan.page.click("#cancel")
    tympan.wait_for("error")
    assert "cancelled" in tympan.error
    tympan.page.click("#error button")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    assert rough.asked_for(FILES["mimi"])[-1].startswith("bytes=")


def test_lost_storage_file_is_reported(context: BrowserContext, site: str) -> None:
    change_engine(context, before=LOSE)
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    tympan.wait_for("error", timeout_ms=BOOT_MS)
    path = FILES["tokenizer"]  # the first that is read
    assert f"The model file {path} is damaged: the browser has lost it (InvalidStateError)" in tympan.error


def test_damaged_storage_file_is_downloaded_again(
    context: BrowserContext, site: str, rough: RoughServer, published: dict[str, bytes]
) -> None:
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    expected = transcribed(tympan)
    tympan.page.evaluate(DAMAGE, hashlib.sha256(published[MIMI]).hexdigest())
    tympan.page.reload()
    assert transcribed(tympan) == expected
    assert {path: rough.asked_for(path) for path in FILES.values()} == {
        FILES["lm"]: [""], FILES["mimi"]: ["", ""], FILES["tokenizer"]: [""]
    }  # fmt: skip


def test_two_tabs_download_a_file_once(context: BrowserContext, site: str, rough: RoughServer) -> None:
    rough.faults[MIMI] = [Fault(pause_s=0.05)]
    tabs = [opened(context, f"{site}/?model=tiny&trace=1") for _ in range(2)]
    for tab in tabs:
        tab.page.click("#download")
    first, second = map(transcribed, tabs)
    assert first == second
    assert all(rough.asked_for(path) == [""] for path in FILES.values())


@pytest.mark.needs("quota override")
def test_storage_quota_exceeded(context: BrowserContext, site: str, rough: RoughServer) -> None:
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    browser = context.new_cdp_session(tympan.page)
    browser.send("Storage.overrideQuotaForOrigin", {"origin": site, "quotaSize": 1_000_000})
    tympan.page.click("#download")
    tympan.wait_for("error")
    assert "not enough storage for the model" in tympan.error
    assert "MB are needed" in tympan.error
    assert tympan.page.inner_text("#error button") == "Delete downloaded models."
    browser.send("Storage.overrideQuotaForOrigin", {"origin": site})
    tympan.page.click("#error button")
    tympan.page.click("#models summary")
    tympan.page.click("#use-tiny")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)


def test_cache_storage_replaces_a_missing_opfs(context: BrowserContext, site: str, rough: RoughServer) -> None:
    change_engine(context, before="from js import StorageManager\n\nStorageManager.prototype.getDirectory = None\n")
    rough.faults[MIMI] = [Fault(cut_at=700_000, pause_s=0.1)]
    tympan = opened(context, f"{site}/?model=tiny&trace=1")
    tympan.page.click("#download")
    expected = transcribed(tympan)
    first, second = rough.asked_for(FILES["mimi"])
    assert (first, 0 < first_byte(second) <= 700_000) == ("", True)
    tympan.page.reload()
    assert transcribed(tympan) == expected
    assert len(rough.asked_for(FILES["mimi"])) == 2
