"""Reading a transcript: playback by word, export, sessions, queue, captions, and the French page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.engines.engine import Engine
from tests.page.tympan_page import BOOT_MS, TRANSCRIBE_MS, TympanPage
from tympan.cli.word_errors import word_error_rate

pytestmark = pytest.mark.needs("playwright")

SAMPLE = Path(__file__).parents[2] / "static" / "sample.wav"
VIDEO = Path(__file__).parent / "speech.webm"
SAID = "good morning it is raining in london turn on the lights in the kitchen the meeting is at nine thirty"
MAX_WORD_ERROR_RATE = 0.3

KEEP_SPOKEN = """
    // Announcements to screen readers, with their times.
    window.spoken = [];
    addEventListener("DOMContentLoaded", () => {
        const note = ([{ target }]) => spoken.push([performance.now(), target.textContent]);
        new MutationObserver(note).observe(document.getElementById("words-announcement"), { childList: true });
        window.nPartial = 0;
        new MutationObserver(() => { nPartial += document.querySelectorAll(".partial").length; })
            .observe(document.getElementById("transcript"), { childList: true, subtree: true });
    });
"""


@pytest.fixture(scope="module")
def tympan(module_context: BrowserContext, site: str) -> Iterator[TympanPage]:
    """The page after it has transcribed the sample."""
    module_context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = TympanPage(module_context.new_page())
    opened.page.add_init_script(KEEP_SPOKEN)
    opened.page.goto(f"{site}/?backend=numpy")
    opened.wait_for("idle", "loading")
    opened.page.click("#sample")
    expect(opened.page.locator("#queue-list li")).to_have_count(1)
    expect(opened.page.locator("#session-list li")).to_have_count(1, timeout=BOOT_MS)
    yield opened
    opened.close()


@pytest.fixture
def page(tympan: TympanPage) -> Page:
    return tympan.page


def test_sample_requested_before_the_model_is_loaded_is_transcribed(tympan: TympanPage) -> None:
    assert tympan.state == "ready"
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    assert tympan.page.is_hidden("#queue")
    assert tympan.page.evaluate("nPartial") > 10, "the newest word is marked while it is not final"
    assert tympan.page.locator("#transcript .partial").count() == 0
    assert tympan.page.locator("#transcript p").first.get_attribute("data-time") == "0:00"


def test_screen_readers_get_sentences(tympan: TympanPage) -> None:
    spoken = [text for _, text in tympan.page.evaluate("spoken")]
    assert " ".join(spoken).split() == tympan.transcript.split()
    assert len(spoken) < len(tympan.transcript.split()) / 3
    assert tympan.page.locator("[aria-live=polite]").count() == 1
    assert tympan.page.evaluate("document.querySelector('#transcript, #status').closest('[aria-live]')") is None


def test_clicking_a_word_plays_from_it(page: Page) -> None:
    words = page.locator(".word")
    words.nth(5).click()
    page.wait_for_selector(".word.playing")
    start = page.evaluate("document.querySelector('#player').currentTime")
    assert start > 0.5
    assert not page.evaluate("document.querySelector('#player').paused")
    page.wait_for_selector(".word.playing:not([data-n='5'])")
    page.evaluate("document.querySelector('#player').pause()")
    assert page.locator(".word.playing").count() == 1


def test_arrow_keys_move_between_words_behind_one_tab_stop(page: Page) -> None:
    assert page.locator(".word[tabindex]").count() == 1
    page.locator(".word[tabindex]").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    second = page.locator(".word").nth(1)
    expect(second).to_be_focused()
    assert second.get_attribute("role") == "button"
    assert page.locator(".word[role]").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector(".word.playing")
    page.evaluate("document.querySelector('#player').pause()")
    page.keyboard.press("End")
    expect(page.locator(".word").last).to_be_focused()


def test_the_waveform_is_drawn_and_a_click_seeks(page: Page) -> None:
    n_painted = page.evaluate(
        """() => {
            const canvas = document.querySelector("#waveform");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.filter((value, i) => i % 4 === 3 && value).length;
        }"""
    )
    assert n_painted > 1000
    box = page.locator("#waveform").bounding_box()
    assert box
    page.locator("#waveform").click(position={"x": box["width"] / 2, "y": 10})
    middle, length = page.evaluate(
        "[document.querySelector('#player').currentTime, document.querySelector('#player').duration]"
    )
    assert middle == pytest.approx(length / 2, abs=0.6)
    page.evaluate("document.querySelector('#player').pause()")


def test_transcript_is_copied(tympan: TympanPage) -> None:
    tympan.page.click("#copy")
    expect(tympan.page.locator("#status")).to_have_text("Copied.")
    assert tympan.page.evaluate("navigator.clipboard.readText()").split() == tympan.transcript.split()


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt", "json"])
def test_the_transcript_is_saved(engine: Engine, tympan: TympanPage, kind: str) -> None:
    saved = engine.download(tympan.page, lambda: tympan.page.click(f"#save-{kind}"))
    assert saved.name == f"Sample.{kind}"
    text = saved.read_text("utf-8")
    words = tympan.transcript.split()
    if kind == "json":
        assert [word["text"] for word in json.loads(text)] == words
    elif kind == "txt":
        assert text.split() == words
    else:
        first = {"srt": "1\n00:00:00,", "vtt": "WEBVTT\n\n00:00:00."}[kind]
        assert text.startswith(first)
        assert words[-1] in text


def test_performance_panel_shows_measured_figures(page: Page) -> None:
    page.click("#panel summary")
    names, figures = page.locator("#figures dt").all_inner_texts(), page.locator("#figures dd").all_inner_texts()
    shown = dict(zip(names, figures, strict=True))
    for name in ("Mimi per 80 ms frame", "Transformer per frame"):
        assert shown[name].endswith(" ms")
        assert float(shown[name].removesuffix(" ms")) > 0
    assert "real time" in shown["Real-time factor"]
    assert shown["Python memory"].endswith(" MB")
    assert shown["Transformer backend"] == "numpy"
    assert shown["Backlog"] == "0.0 s"


def test_french_is_remembered_by_later_visits(page: Page) -> None:
    page.click("#language")
    assert page.evaluate("document.documentElement.lang") == "fr"
    assert page.get_attribute("#transcript", "lang") == "en", "the transcript keeps its language"
    assert page.inner_text("#microphone") == "Écouter"
    assert page.inner_text("#figures dt >> nth=0") == "Mimi par trame de 80 ms"
    assert page.inner_text("#session-list .rename") == "Renommer"
    another = page.context.new_page()
    another.goto(page.url)
    expect(another.locator("#microphone")).to_have_text("Écouter", timeout=BOOT_MS)
    another.close()
    page.bring_to_front()
    page.set_input_files("#file", {"name": "rien.wav", "mimeType": "audio/wav", "buffer": b""})
    expect(page.locator("#error")).to_have_text("« rien.wav » ne peut pas être transcrit : il est vide. ")
    page.click("#language")
    assert page.inner_text("#microphone") == "Listen"


def test_sessions_are_stored_renamed_opened_and_deleted(tympan: TympanPage, site: str) -> None:
    page = tympan.page
    page.check("#keep-audio")
    tympan.choose("kept.wav", SAMPLE.read_bytes())
    expect(page.locator("#session-list li")).to_have_count(2)
    said = tympan.transcript
    page.reload()
    tympan.wait_for("ready")
    entries = page.locator("#session-list li")
    expect(entries).to_have_count(2)
    expect(entries.first.locator(".name")).to_have_text("kept.wav")
    assert "6 s · with audio" in entries.first.locator(".facts").inner_text()

    entries.first.locator(".rename").click()
    page.keyboard.type("A meeting")
    page.keyboard.press("Enter")
    expect(entries.first.locator(".name")).to_have_text("A meeting")
    expect(entries.first.locator(".rename")).to_be_focused()

    entries.first.locator(".name").click()
    expect(page.locator("#recording-name")).to_have_text("A meeting")
    assert tympan.transcript == said
    page.locator(".word").nth(3).click()
    page.wait_for_selector(".word.playing")
    entries.last.locator(".name").click()
    expect(page.locator("#recording-name")).to_have_text("Sample")
    assert page.is_hidden("#playback"), "its audio was not stored"

    entries.first.locator(".delete").click()
    expect(page.locator("#session-list .name")).to_have_count(1)
    expect(page.locator("#undo")).to_be_focused()
    page.evaluate("() => { const undo = document.querySelector('#undo'); undo.click(); undo.click(); }")
    expect(page.locator("#session-list .name")).to_have_count(2)
    entries.first.locator(".name").click()
    expect(page.locator("#playback")).to_be_visible()
    for n_left in (1, 0):
        page.locator("#session-list .delete").first.click()
        expect(page.locator("#session-list .name")).to_have_count(n_left)
    page.reload()
    tympan.wait_for("ready")
    expect(page.locator("#no-sessions")).to_be_visible()


def test_video_gets_captions_while_it_is_transcribed(tympan: TympanPage) -> None:
    tympan.choose_file(VIDEO)
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE + 0.2, tympan.transcript
    cues = tympan.page.evaluate(
        """() => {
            const [track] = document.querySelector("video#player").textTracks;
            return [track.mode, ...Array.from(track.cues, (cue) => cue.text)];
        }"""
    )
    assert cues[0] == "showing"
    assert " ".join(cues[1:]).split() == tympan.transcript.split()
    assert all(len(cue) <= 42 for cue in cues[1:])


DROP = """
async ([kind, name]) => {
    window.sound ??= await (await fetch("sample.wav")).blob();
    const data = new DataTransfer();
    data.items.add(new File([sound], name, { type: "audio/wav" }));
    const event = kind === "paste" ? new ClipboardEvent("paste", { bubbles: true })
                                   : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
    // Firefox does not let scripts put files into a ClipboardEvent.
    if (kind === "paste") Object.defineProperty(event, "clipboardData", { value: data });
    document.querySelector("#transcript").dispatchEvent(event);
}
"""


def test_dropped_and_pasted_files_are_queued(tympan: TympanPage) -> None:
    page = tympan.page
    page.evaluate(DROP, ["dragenter", "dropped.wav"])
    expect(page.locator("body")).to_have_class("dropping")
    page.evaluate(DROP, ["drop", "dropped.wav"])
    page.evaluate(DROP, ["paste", "pasted.wav"])
    page.evaluate(DROP, ["drop", "unwanted.wav"])
    expect(page.locator("#recording-name")).to_have_text("dropped.wav")
    expect(page.locator("#queue-list li")).to_have_count(2)
    page.get_by_role("button", name="Remove unwanted.wav from the queue").click()
    page.click("#microphone")  # Stop
    expect(page.locator("#recording-name")).to_have_text("pasted.wav", timeout=TRANSCRIBE_MS)
    page.click("#microphone")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=TRANSCRIBE_MS)
    assert tympan.state == "ready"
    assert page.is_hidden("#queue")


def test_recording_from_a_url(tympan: TympanPage, site: str) -> None:
    page = tympan.page
    page.click("#more summary")
    page.fill("#recording-address", f"{site}/harness/silence.wav")
    page.press("#recording-address", "Enter")
    expect(page.locator("#recording-name")).to_have_text("silence.wav")
    tympan.wait_for("ready")
    page.fill("#recording-address", f"{site}/harness/nothing.wav")
    page.press("#recording-address", "Enter")
    expect(page.locator("#error")).to_contain_text("404")


def test_denied_microphone_is_reported_and_files_are_transcribed(tympan: TympanPage) -> None:
    """A headless browser denies permissions that were not granted."""
    tympan.page.click("#microphone")
    expect(tympan.page.locator("#error")).to_contain_text("microphone cannot be used")
    tympan.choose("sample.wav", SAMPLE.read_bytes())
    assert "meeting" in tympan.transcript
    assert tympan.page.is_hidden("#error")


STORE_LONG_SPEECH = """
() => new Promise((resolve) => {
    const words = Array.from({ length: 1000 }, (_, n) => ({ text: `word${n}`, start: n / 4, end: (n + 1) / 4 }));
    const session = { name: "Long", date: "2026-01-01T00:00:00Z", seconds: 250, words, languages: ["en"],
                      has_sound: false };
    const opening = indexedDB.open("tympan", 1);
    opening.onsuccess = () => {
        const transaction = opening.result.transaction("sessions", "readwrite");
        transaction.objectStore("sessions").add(JSON.stringify(session));
        transaction.oncomplete = resolve;
    };
})
"""


def test_speech_without_pauses_is_split_into_short_paragraphs(tympan: TympanPage) -> None:
    """A new word lays out its paragraph, so paragraphs must not grow with the recording."""
    page = tympan.page
    page.evaluate(STORE_LONG_SPEECH)
    page.reload()
    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    page.locator("#session-list .name", has_text="Long").click()
    expect(page.locator(".word")).to_have_count(1000)
    lengths = page.evaluate(
        "Array.from(document.querySelectorAll('#transcript p'), (p) => p.querySelectorAll('.word').length)"
    )
    assert max(lengths) <= 150
    assert page.locator("#transcript p").nth(1).get_attribute("data-time") == "0:37"
    assert page.locator(".word").all_text_contents() == [f"word{n}" for n in range(1000)]
