"""The fixtures of cli.testing, as docs/testing.md shows them; and window.tympan listening in Tympan's own page."""

from __future__ import annotations

from cli.testing import OpenPage, word_error_rate
from tests.page.test_transcribe import SAID, SPEECH

MAX_WORD_ERROR_RATE = 0.35

LISTEN = """
    () => {
        window.told = { word: [], partial: [], turn: [] };
        for (const kind of Object.keys(told)) tympan.addEventListener(kind, ({ detail }) => told[kind].push(detail));
        window.heard = tympan.listen();
    }
"""
LAST_WORD = "kitchen"


def test_a_page_hears_a_file_through_its_microphone(tympan_page: OpenPage) -> None:
    page = tympan_page(microphone=SPEECH, query="backend=numpy")
    page.evaluate(LISTEN)
    page.wait_for_selector(f"#transcript:has-text('{LAST_WORD}')", timeout=60_000)
    page.wait_for_selector("html[data-state=listening]", state="attached")
    page.evaluate("tympan.stop()")
    heard, told = page.evaluate("heard"), page.evaluate("told")
    assert word_error_rate(SAID, heard["text"]) <= MAX_WORD_ERROR_RATE, heard["text"]
    assert [word["text"] for word in told["word"]] == heard["text"].split()[: len(told["word"])]
    assert all(word["start"] < word["end"] for word in told["word"])
    assert {partial["text"] for partial in told["partial"]} > {""}
    assert told["turn"][0]["turn"] == "speech"
    assert {turn["turn"] for turn in told["turn"]} <= {"speech", "pause", "end"}
