"""The fixtures of cli.testing, used as in docs/testing.md, and window.tympan.listen() in Tympan's page."""

from __future__ import annotations

from tests.page.test_transcribe import SAID, SPEECH
from tympan.cli.testing import OpenPage, word_error_rate

MAX_WORD_ERROR_RATE = 0.35

LISTEN = """
    () => {
        window.events = { word: [], partial: [], turn: [] };
        for (const [kind, details] of Object.entries(events)) {
            tympan.addEventListener(kind, ({ detail }) => details.push(detail));
        }
        window.result = tympan.listen();
    }
"""
LAST_WORD = "kitchen"


def test_a_page_transcribes_a_file_played_by_its_microphone(tympan_page: OpenPage) -> None:
    page = tympan_page(microphone=SPEECH, query="backend=numpy")
    page.evaluate(LISTEN)
    page.wait_for_selector(f"#transcript:has-text('{LAST_WORD}')", timeout=60_000)
    page.wait_for_selector("html[data-state=listening]", state="attached")
    page.evaluate("tympan.stop()")
    result, events = page.evaluate("result"), page.evaluate("events")
    assert word_error_rate(SAID, result["text"]) <= MAX_WORD_ERROR_RATE, result["text"]
    assert [word["text"] for word in events["word"]] == result["text"].split()[: len(events["word"])]
    assert all(word["start"] < word["end"] for word in events["word"])
    assert {partial["text"] for partial in events["partial"]} > {""}
    assert events["turn"][0]["turn"] == "speech"
    assert {turn["turn"] for turn in events["turn"]} <= {"speech", "pause", "end"}
