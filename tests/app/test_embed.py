"""`tympan.Transcriber` outside of a page, and the public names. Inside a page: tests/page/test_author_pages.py."""

from __future__ import annotations

from pathlib import Path

import pytest

import tympan
from tests.app.golden import golden
from tests.awaiting import run
from tests.conftest import PyodidePage

DEMO = Path(__file__).parents[2] / "static" / "models" / "demo"


def test_the_public_names() -> None:
    assert tympan.__all__ == ["Trace", "Transcriber", "Transcript", "Turn", "TurnKind", "TympanError", "Word"]
    for name in tympan.__all__:
        assert getattr(tympan, name).__name__ == ("EmbeddedTranscriber" if name == "Transcriber" else name)
    with pytest.raises(AttributeError, match="no attribute 'Transcribe'"):
        tympan.Transcribe  # noqa: B018


def test_a_local_model_directory_is_transcribed() -> None:
    async def transcribe_twice() -> list[tympan.Transcript]:
        stt = await tympan.Transcriber.load(DEMO, backend="numpy")
        assert stt.manifest.name == "demo"
        stream = stt.stream()
        await stream.feed(golden().pcm)
        return [await stt.transcribe(golden().pcm), await stream.finish()]

    whole, streamed = run(transcribe_twice())
    assert whole.words == streamed.words
    assert whole.seconds == 6.0


def test_loading_outside_a_worker_is_an_error(pyodide_page: PyodidePage) -> None:
    kind, message = pyodide_page.run(
        """
        from tympan import Transcriber, TympanError
        try:
            await Transcriber.load("demo")
        except TympanError as error:
            result = error.kind, str(error)
        result
        """
    )
    assert kind == "NotInWorker"
    assert "worker" in message
