"""External errors: the page shows a message and remains usable."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Route, expect

from tests.engines.engine import PLAIN_HOST, Engine
from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import BOOT_MS, CAPTIONS, TympanPage, change_engine

pytestmark = pytest.mark.needs("playwright")

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

# A request for captions crashes the engine.
CRASH = """
from js import Error, Promise, setTimeout

async def captions(self, words, format):
    error = Error.new("memory access out of bounds")
    error.pyodide_fatal_error = True
    setTimeout(Promise.reject.bind(Promise, error))
    return ""

Engine.captions = captions
"""

# The engine returns how much of the C stack the callbacks of the event loop have not freed.
REPORT_STACK = """

async def captions(self, words, format):
    before = _module.stackSave()
    for _ in range(100):
        await asyncio.sleep(0)
    return str(before - _module.stackSave())

Engine.captions = captions
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


def test_unknown_model(context: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(context, f"{site}/?model=babel&backend=simd")
    message = failed_to_load(tympan)
    assert "“babel”" in message
    assert "demo" in message
    follow_link(tympan)


def flip_one_byte(route: Route) -> None:
    response = route.fetch()
    body = bytearray(response.body())
    body[len(body) // 2] ^= 1
    route.fulfill(response=response, body=bytes(body))


def cut_short(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=response.body()[:-1000])


def abort(route: Route) -> None:
    route.abort()


def test_damaged_model(context: BrowserContext, site: str) -> None:
    """Each retry meets another damage; after a reload the file is complete."""
    tympan = TympanPage(context.new_page())
    damages = {flip_one_byte: "sha256", cut_short: "bytes", abort: "Could not download"}
    for damage, message in damages.items():
        context.unroute_all()
        context.route("**/lm-00001.safetensors", damage)
        if damage is flip_one_byte:
            tympan.page.goto(f"{site}/?backend=simd")
        else:
            tympan.page.click("#error button")
            tympan.wait_for("loading")  # until then, the page shows the previous error
        expect(tympan.page.locator("#error")).to_contain_text(message, timeout=BOOT_MS)
        assert "lm-00001.safetensors" in failed_to_load(tympan)
    context.unroute_all()
    tympan.page.reload()
    tympan.wait_for("ready", timeout_ms=BOOT_MS)


@pytest.mark.parametrize(
    ("query", "message"),
    [("backend=abacus", "auto, webgpu, simd, numpy"), ("model=ftp://x", "ftp://x")],
)
def test_invalid_query_parameter(context: BrowserContext, site: str, query: str, message: str) -> None:
    tympan = TympanPage.open(context, f"{site}/?{query}")
    assert message in failed_to_load(tympan)


def test_storage_apis_denied(context: BrowserContext, site: str) -> None:
    change_engine(context, before=FORBID_IN_WORKER)
    tympan = TympanPage(context.new_page())
    tympan.page.add_init_script(FORBID_IN_PAGE)
    tympan.page.goto(f"{site}/?backend=simd")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.page.click("#language")
    expect(tympan.page.locator("#microphone")).to_have_text("Écouter")
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    expect(tympan.page.locator("#status")).to_have_text("Le navigateur n’a pas pu enregistrer cette session.")


def test_blocked_cookies_that_throw(context: BrowserContext, site: str) -> None:
    """The page starts, reports that storage is refused, and transcribes."""
    tympan = TympanPage(context.new_page())
    tympan.page.add_init_script(BLOCK_COOKIES)
    tympan.page.goto(f"{site}/?backend=simd")
    expect(tympan.page.locator("#error")).to_contain_text("does not let this site store data", timeout=BOOT_MS)
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript


def test_all_site_data_blocked(engine: Engine, site: str, tmp_path: Path) -> None:
    """As with cookies blocked for all sites in the browser's settings."""
    context = engine.context_without_site_data(tmp_path)
    tympan = TympanPage(context.new_page())
    tympan.page.goto(site)
    tympan.wait_for("error", timeout_ms=BOOT_MS)
    assert "does not let this site store data" in failed_to_load(tympan)
    context.close()


def test_plain_http(browser: Browser, site: str) -> None:
    """A page that is no secure context has no storage and no microphone. It transcribes files, and says the rest."""
    context = browser.new_context()
    tympan = TympanPage(context.new_page())
    tympan.page.goto(f"{site.replace('localhost', PLAIN_HOST)}/?backend=simd")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    assert not tympan.page.evaluate("isSecureContext")
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    tympan.page.click("#microphone")
    tympan.wait_for("error")
    assert "microphone cannot be used" in tympan.error
    context.close()


def test_crash_of_the_engine_during_a_recording(context: BrowserContext, site: str, tmp_path: Path) -> None:
    """A fatal error of Pyodide rejects a promise that nothing awaits. The next recording starts another engine."""
    change_engine(context, after=CRASH)
    tympan = TympanPage.open(context, f"{site}/?backend=simd")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    with wave.open(str(SPEECH)) as speech, wave.open(str(tmp_path / "long.wav"), "wb") as repeated:
        repeated.setparams(speech.getparams())
        repeated.writeframes(60 * speech.readframes(speech.getnframes()))
    tympan.page.set_input_files("#file", tmp_path / "long.wav")
    tympan.wait_for_words(3)
    tympan.page.evaluate(CAPTIONS)
    tympan.wait_for("error")
    assert "memory access out of bounds" in tympan.error
    assert len(tympan.transcript.split()) >= 3
    tympan.choose("speech.wav", SPEECH.read_bytes())
    tympan.wait_for_text("week")
    assert len(tympan.page.workers) == 1, "the first one has ended"


def test_callbacks_of_the_event_loop_free_the_stack(context: BrowserContext, site: str) -> None:
    """Otherwise Python crashes after some hours of audio."""
    change_engine(context, after=REPORT_STACK)
    page = context.new_page()
    page.goto(site)
    assert page.evaluate("'Suspending' in WebAssembly"), "this browser cannot show the error"
    leaked = page.evaluate(CAPTIONS)
    assert int(leaked) < 100
