"""External errors: the page shows a message and remains usable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Route, expect

from tests.conftest import chromium_options
from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import BOOT_MS, TympanPage, change_engine

FORBID_IN_PAGE = """
    Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("It is forbidden.", "SecurityError"); },
    });
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (name, ...values) {
        const request = open.call(this, name, ...values);
        if (name === "tympan") {
            Object.defineProperty(request, "onupgradeneeded", { set() {} });
            request.addEventListener("upgradeneeded", () => request.transaction.abort());
        }
        return request;
    };
"""
BLOCK_COOKIES = """
    // As in Firefox with all cookies blocked: these throw at once.
    const refuse = () => { throw new DOMException("The operation is insecure.", "SecurityError"); };
    window.BroadcastChannel = class { constructor() { refuse(); } };
    IDBFactory.prototype.open = refuse;
"""
FORBID_IN_WORKER = """
from js import CacheStorage, Error, LockManager, Promise, StorageManager

for kind, name in ((CacheStorage, "open"), (LockManager, "request"), (StorageManager, "getDirectory")):
    setattr(kind.prototype, name, lambda *arguments: Promise.reject(Error.new("It is forbidden.")))

"""


def failed_to_load(tympan: TympanPage) -> str:
    """The message on the page, which scripts get too."""
    assert tympan.state == "error"
    with pytest.raises(Error) as failure:
        tympan.page.evaluate("tympan.ready")
    assert tympan.error.split(". ")[0] in str(failure.value)
    with pytest.raises(Error):
        tympan.page.evaluate("tympan.transcribe('speech.wav')")
    return tympan.error


def follow_link(tympan: TympanPage) -> None:
    """Follow the link in the message and transcribe."""
    tympan.page.click("#error a")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript


def test_unknown_model(chromium: Browser, site: str) -> None:
    tympan = TympanPage.open(chromium, f"{site}/?model=babel&backend=numpy")
    message = failed_to_load(tympan)
    assert "“babel”" in message
    assert "demo" in message
    follow_link(tympan)
    tympan.close()


def flip_one_byte(route: Route) -> None:
    response = route.fetch()
    body = bytearray(response.body())
    body[len(body) // 2] ^= 1
    route.fulfill(response=response, body=bytes(body))


def cut_short(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=response.body()[:-1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [(flip_one_byte, "sha256"), (cut_short, "bytes"), (lambda route: route.abort(), "Could not download")],
)
def test_damaged_model(chromium: Browser, site: str, damage: Callable[[Route], None], message: str) -> None:
    context = chromium.new_context(service_workers="block")
    context.route("**/lm-00001.safetensors", damage)
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/?backend=numpy")
    tympan.wait_for("error", timeout_ms=BOOT_MS)
    shown = failed_to_load(tympan)
    assert message in shown
    assert "lm-00001.safetensors" in shown
    context.unroute_all()
    tympan.page.reload()
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.close()


@pytest.mark.parametrize(
    ("query", "message"), [("backend=abacus", "auto, webgpu, simd, numpy"), ("model=ftp://x", "ftp://x")]
)
def test_invalid_query_parameter(chromium: Browser, site: str, query: str, message: str) -> None:
    tympan = TympanPage.open(chromium, f"{site}/?{query}")
    assert message in failed_to_load(tympan)
    tympan.close()


def test_no_webgpu(chromium: Browser, site: str) -> None:
    """With backend=webgpu, a browser without WebGPU shows an error with a link to the CPU."""
    browser = chromium.browser_type.launch(**chromium_options(webgpu=False))
    tympan = TympanPage.open(browser, f"{site}/?backend=webgpu")
    assert "WebGPU is not available" in failed_to_load(tympan)
    follow_link(tympan)
    browser.close()


def test_microphone_permission_denied(chromium: Browser, site: str) -> None:
    """Headless Chromium denies permissions that were not granted."""
    tympan = TympanPage.open(chromium, f"{site}/?backend=numpy")
    tympan.page.click("#microphone")
    tympan.wait_for("error")
    assert "microphone cannot be used" in tympan.error
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    assert tympan.page.is_hidden("#error")
    tympan.close()


def test_storage_apis_denied(chromium: Browser, site: str) -> None:
    context = chromium.new_context(service_workers="block")
    context.add_init_script(FORBID_IN_PAGE)
    change_engine(context, before=FORBID_IN_WORKER)
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/?backend=numpy")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.page.click("#language")
    expect(tympan.page.locator("#microphone")).to_have_text("Écouter")
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    expect(tympan.page.locator("#status")).to_have_text("Le navigateur n’a pas pu enregistrer cette session.")
    tympan.close()


def test_blocked_cookies_that_throw(chromium: Browser, site: str) -> None:
    """The page starts, reports that storage is refused, and transcribes."""
    context = chromium.new_context(service_workers="block")
    context.add_init_script(BLOCK_COOKIES)
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site}/?backend=numpy")
    expect(tympan.page.locator("#error")).to_contain_text("does not let this site store data", timeout=BOOT_MS)
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    tympan.close()


def test_all_site_data_blocked(chromium: Browser, site: str, tmp_path: Path) -> None:
    """As with cookies blocked for all sites in the browser's settings."""
    (tmp_path / "Default").mkdir()
    settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(settings))
    context = chromium.browser_type.launch_persistent_context(tmp_path, **chromium_options())
    tympan = TympanPage(context.new_page())
    tympan.page.goto(site)
    tympan.wait_for("error", timeout_ms=BOOT_MS)
    assert "does not let this site store data" in failed_to_load(tympan)
    context.close()
