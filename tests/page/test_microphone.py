"""The microphone, which plays a file."""

from __future__ import annotations

import pytest

from tests.page.test_transcribe import SAID, SPEECH
from tests.page.tympan_page import KEEP_TRACKS, TympanPage
from tympan.cli.testing import OpenBrowser
from tympan.cli.word_errors import word_error_rate

MAX_WORD_ERROR_RATE = 0.35  # frames begin at a random offset here, and some offsets are harder for the demo model

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


@pytest.mark.parametrize("script", [KEEP_TRACKS, KEEP_TRACKS + REFUSE_24_KHZ], ids=["24 kHz", "another rate"])
def test_microphone_is_transcribed_live_and_stop_flushes_the_last_word(
    tympan_browser: OpenBrowser, site: str, script: str
) -> None:
    page = tympan_browser(SPEECH).new_page(service_workers="block")
    page.add_init_script(script)
    page.goto(f"{site}/?backend=simd")
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
