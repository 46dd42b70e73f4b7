"""Private windows: the model and the sessions last as long as the window."""

from __future__ import annotations

from tests.engines.engine import Engine
from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import TympanPage


def test_model_and_session_survive_a_reload_in_a_private_window(engine: Engine, site: str) -> None:
    browser = engine.launch(private=True)
    tympan = TympanPage.open(browser.new_context(), f"{site}/?backend=simd")
    assert not tympan.error
    tympan.choose("speech.wav", SPEECH.read_bytes())
    said = tympan.transcript
    assert "meeting" in said
    tympan.page.wait_for_selector("#session-list .name")
    tympan.requests.clear()
    tympan.page.reload()
    tympan.wait_for("ready")
    assert [url for url in tympan.requests if url.endswith(".safetensors")] == [], "the model is stored"
    tympan.page.wait_for_selector("#session-list .name")
    tympan.page.click("#session-list .name")
    tympan.wait_for_words(len(said.split()))
    assert tympan.transcript == said
    browser.close()
