"""The microphone, played from a file by Chromium's fake device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.conftest import chromium_options
from tests.page.test_transcribe import SAID, SPEECH
from tests.page.tympan_page import KEEP_TRACKS, TympanPage
from tympan.cli.word_errors import word_error_rate

MAX_WORD_ERROR_RATE = 0.35  # where a frame begins is chance here, and the demo model is not good at chance

REFUSE_24_KHZ = """
    // As Firefox does: a microphone and a context of different rates cannot be mixed.
    const Native = window.AudioContext;
    window.AudioContext = class extends Native {
        constructor(options) {
            super(options);
            this.isForced = Boolean(options?.sampleRate);
        }
        createMediaStreamSource(stream) {
            if (this.isForced) throw new DOMException("different sample rates", "NotSupportedError");
            return super.createMediaStreamSource(stream);
        }
    };
"""


@pytest.fixture(scope="module")
def listening_browser(chromium: Browser) -> Iterator[Browser]:
    """A browser whose microphone plays the speech once, then silence, so the time of the stop adds no words."""
    browser = chromium.browser_type.launch(
        **chromium_options(
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={SPEECH}%noloop",
        )
    )
    yield browser
    browser.close()


@pytest.mark.parametrize("script", [KEEP_TRACKS, KEEP_TRACKS + REFUSE_24_KHZ], ids=["24 kHz", "another rate"])
def test_microphone_is_transcribed_live_and_stop_flushes_the_last_word(
    listening_browser: Browser, site: str, script: str
) -> None:
    page = listening_browser.new_page(service_workers="block")
    page.add_init_script(script)
    page.goto(f"{site}/?backend=numpy")
    tympan = TympanPage(page)
    tympan.wait_for("ready")
    page.click("#microphone")
    tympan.wait_for("listening")
    assert page.inner_text("#microphone") == "Stop"
    tympan.wait_for_text("kitchen")  # the last word, while the microphone is still open
    assert tympan.state == "listening"
    assert page.evaluate("tracks.map(track => track.readyState)") == ["live"]
    page.click("#microphone")
    tympan.wait_for("ready")
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended"], "the microphone is released"
    page.close()
