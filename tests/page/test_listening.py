"""Listening to a tab: the screen meanwhile, a hidden page, and a device that is too slow."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.page.test_reading import MAX_WORD_ERROR_RATE, SAID
from tests.page.tympan_page import BOOT_MS, TRANSCRIBE_MS, TympanPage, change_engine
from tympan.cli.word_errors import word_error_rate

pytestmark = pytest.mark.needs("playwright")

VOICE = """
    // Another tab that plays the sample, chosen in the browser's dialogue; and a screen that can be kept on.
    window.locks = [];
    window.tracks = [];
    navigator.mediaDevices.getDisplayMedia = async (wanted) => {
        if (window.isSilent) return document.createElement("canvas").captureStream();
        const context = new AudioContext({ sampleRate: 24000 });
        const player = context.createBufferSource();
        player.buffer = await context.decodeAudioData(await (await fetch("sample.wav")).arrayBuffer());
        const target = context.createMediaStreamDestination();
        player.connect(target);
        window.played = new Promise((resolve) => { player.onended = resolve; });
        window.play = () => player.start();
        const { stream } = target;
        document.createElement("canvas").captureStream().getTracks().forEach((track) => stream.addTrack(track));
        tracks.push(...stream.getTracks());
        return stream;
    };
    const supported = navigator.mediaDevices.getSupportedConstraints();
    navigator.mediaDevices.getSupportedConstraints = () => ({ ...supported, suppressLocalAudioPlayback: true });
    navigator.wakeLock.request = async (kind) => {
        const lock = { kind, isHeld: true, release: async () => { lock.isHeld = false; } };
        locks.push(lock);
        return lock;
    };
"""
HIDE = """
    Object.defineProperty(document, "hidden", { value: true });
    Object.defineProperty(document, "visibilityState", { value: "hidden" });
    document.dispatchEvent(new Event("visibilitychange"));
    window.requestAnimationFrame = () => 0; // as in a tab that nobody sees, where timers come once a second
    const native = window.setTimeout;
    window.setTimeout = (function_, ms, ...rest) => native(function_, Math.max(ms || 0, 1000), ...rest);
"""
SLOW = """
from time import sleep
from tympan.mimi.encoder import Mimi

encode = Mimi.encode

def slow(self, state, frames):
    sleep(0.1 * len(frames))
    return encode(self, state, frames)

Mimi.encode = slow
"""


@pytest.fixture(scope="module")
def tympan(module_context: BrowserContext, site: str) -> Iterator[TympanPage]:
    opened = TympanPage(module_context.new_page())
    opened.page.add_init_script(VOICE)
    opened.page.goto(f"{site}/?backend=simd")
    opened.wait_for("ready", timeout_ms=BOOT_MS)
    yield opened
    opened.close()


def listen_to_the_sample(tympan: TympanPage) -> None:
    """Start listening; then the tab plays the sample."""
    tympan.page.click("#tab")
    tympan.wait_for("listening")
    tympan.page.evaluate("play()")


def stop_after_it(tympan: TympanPage) -> None:
    """Stop listening when the tab has played the whole sample."""
    tympan.page.evaluate("played.then(() => {})")
    tympan.page.click("#microphone")
    tympan.wait_for("ready", "error", timeout_ms=TRANSCRIBE_MS)


def test_tab_is_transcribed_with_a_screen_wake_lock(tympan: TympanPage) -> None:
    page = tympan.page
    listen_to_the_sample(tympan)
    assert page.evaluate("tracks.map(track => [track.kind, track.readyState])") == [
        ["audio", "live"],
        ["video", "ended"],
    ]
    assert page.evaluate("locks.map(lock => [lock.kind, lock.isHeld])") == [["screen", True]]
    expect(page.locator("#status")).to_contain_text(re.compile(r"Listening: [1-9]\d* s"))
    expect(page.locator("#waveform")).to_be_visible()
    assert page.is_disabled("#tab")
    assert page.evaluate("document.querySelector('#session-choice').disabled")
    stop_after_it(tympan)
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    assert page.evaluate("locks.map(lock => lock.isHeld)") == [False]
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended", "ended"], "the tab is released"


def test_recording_can_be_played_and_its_delay_is_shown(tympan: TympanPage) -> None:
    page = tympan.page
    expect(page.locator("audio#player")).to_be_visible()
    assert 5.5 < page.evaluate("document.querySelector('#player').duration") < 12
    page.locator(".word").nth(2).click()
    page.wait_for_selector(".word.playing")
    page.evaluate("document.querySelector('#player').pause()")
    page.click("#panel summary")
    delay = page.locator("#figures dt", has_text="Speech-to-text delay").locator("+ dd").inner_text()
    assert float(delay.removesuffix(" s")) > 0.3, "the text delay of the model alone is more"
    expect(page.locator("#session-list .name").first).to_contain_text("Tab, ")


def test_tab_without_audio_is_refused(tympan: TympanPage) -> None:
    tympan.page.evaluate("window.isSilent = true")
    tympan.page.click("#tab")
    tympan.wait_for("error")
    assert "no audio was shared" in tympan.error
    tympan.page.evaluate("window.isSilent = false")


def test_words_are_stored_if_the_page_is_closed_while_listening(tympan: TympanPage) -> None:
    page = tympan.page
    n_kept = page.locator("#session-list li").count()
    listen_to_the_sample(tympan)
    expect(page.locator(".word").nth(2)).to_be_visible(timeout=TRANSCRIBE_MS)
    page.reload()
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    expect(page.locator("#session-list li")).to_have_count(n_kept + 1)
    page.locator("#session-list .name").first.click()
    expect(page.locator(".word").first).to_be_visible()


def test_hidden_tab_continues_transcribing(tympan: TympanPage) -> None:
    """Last in this file: the page stays hidden."""
    page = tympan.page
    listen_to_the_sample(tympan)
    page.evaluate(HIDE)
    tympan.wait_for_words(3)  # although every timer of the page waits for a second
    assert tympan.state == "listening"
    stop_after_it(tympan)
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript


def test_slow_device_shows_its_backlog_and_drops_nothing(browser: Browser, site: str) -> None:
    context = browser.new_context(service_workers="block")
    change_engine(context, after=SLOW)
    tympan = TympanPage(context.new_page())
    tympan.page.add_init_script(VOICE)
    tympan.page.goto(f"{site}/?backend=numpy")
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    listen_to_the_sample(tympan)
    expect(tympan.page.locator("#status")).to_contain_text(re.compile(r"transcript \d+ s behind"), timeout=20_000)
    stop_after_it(tympan)
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    context.close()
