"""Speech in, text out, in a real browser with the demo model, on WebGPU and on the CPU."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Error

from tests.page.tympan_page import TympanPage
from tympan.cli.word_errors import word_error_rate

SPEECH = Path(__file__).parents[1] / "golden" / "speech.wav"  # espeak-ng, en-us, 22.05 kHz
MANIFEST = Path(__file__).parents[2] / "static" / "models" / "demo" / "model.json"
N_CODEBOOKS = json.loads(MANIFEST.read_text("utf-8"))["config"]["n_q"]
SAID = "can you help me with this week the meeting is at eight fourteen turn on the light in the kitchen"
MAX_WORD_ERROR_RATE = 0.05  # one word of the twenty

# For what does not depend on the backend: a software GPU takes seconds for each recording.
on_cpu = pytest.mark.parametrize("backend", ["simd"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=[pytest.param("webgpu", marks=pytest.mark.needs("webgpu")), "simd"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tympan(module_context: BrowserContext, site: str, backend: str) -> Iterator[TympanPage]:
    opened = TympanPage.open(module_context, f"{site}/?trace=1&backend={backend}")
    yield opened
    opened.close()


def wav(samples: np.ndarray, rate_hz: int) -> bytes:
    """A 16-bit WAV file of samples (n,) or (n, channels) in [-1, 1]."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((samples.ndim and samples.reshape(len(samples), -1).shape[1], 2, rate_hz, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return target.getvalue()


def start_of_speech(n_s: float) -> bytes:
    """The first seconds of the recording, as a WAV file."""
    with wave.open(str(SPEECH)) as file:
        rate_hz = file.getframerate()
        return wav(np.frombuffer(file.readframes(int(n_s * rate_hz)), "<i2") / 32768, rate_hz)


def test_the_page_loads_the_demo_model(tympan: TympanPage, backend: str) -> None:
    assert tympan.state == "ready", tympan.error
    assert tympan.page.evaluate("tympan.ready")["backend"] == backend
    assert tympan.page.is_hidden("#error")
    assert tympan.page.is_hidden("#progress")


def test_chosen_file_is_transcribed_word_by_word(tympan: TympanPage) -> None:
    """Words appear before the file is finished."""
    tympan.page.evaluate(
        """() => {
            window.seen = [];
            const transcript = document.querySelector("#transcript");
            new MutationObserver(() => seen.push(transcript.textContent.trim().split(/\\s+/).length))
                .observe(transcript, {childList: true, subtree: true, characterData: true});
        }"""
    )
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert tympan.state == "ready"
    assert word_error_rate(SAID, tympan.transcript) <= MAX_WORD_ERROR_RATE, tympan.transcript
    assert len(set(tympan.page.evaluate("window.seen"))) > 10


def test_script_gets_words_with_times_codes_and_tokens(tympan: TympanPage) -> None:
    result = tympan.transcribe(SPEECH.read_bytes())
    words, seconds = result["words"], result["seconds"]
    assert word_error_rate(SAID, result["text"]) <= MAX_WORD_ERROR_RATE, result["text"]
    assert seconds == pytest.approx(8.17, abs=0.01)
    assert result["frames"] == 103
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert all(0 <= word["start"] < word["end"] <= seconds + 0.5 for word in words)
    assert all(round(start / 0.08, 3).is_integer() for start in starts)
    spoken = {word["text"]: word["start"] for word in words}
    assert spoken["can"] == pytest.approx(0.5, abs=0.3)
    assert spoken["meeting"] == pytest.approx(3.2, abs=0.3)
    assert len(result["codes"]) >= result["frames"] + 8
    assert {len(codes) for codes in result["codes"]} == {N_CODEBOOKS}
    assert len(result["tokens"]) == len(result["codes"]) + 1
    assert set(result["timing"]) == {"mimi_ms", "lm_ms", "elapsed_s", "real_time_factor"}


def test_last_word_is_transcribed_if_the_file_ends_with_it(tympan: TympanPage) -> None:
    with wave.open(str(SPEECH)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    end = np.flatnonzero(np.abs(samples) > 0.02)[-1]
    assert tympan.transcribe(wav(samples[5 * 22050 : end], 22050))["text"].endswith("kitchen")


@on_cpu
def test_stereo_at_another_rate_is_mixed_and_resampled(tympan: TympanPage) -> None:
    with wave.open(str(SPEECH)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    n_samples = len(samples) * 48000 // 22050
    stretched = np.interp(np.arange(n_samples) * 22050 / 48000, np.arange(len(samples)), samples)
    result = tympan.transcribe(wav(np.stack([stretched, stretched], axis=1), 48000))
    assert result["seconds"] == pytest.approx(8.17, abs=0.01)
    assert word_error_rate(SAID, result["text"]) <= MAX_WORD_ERROR_RATE, result["text"]


def test_calls_run_one_after_another(tympan: TympanPage) -> None:
    half = wav(np.zeros(12000), 24000)
    results = tympan.page.evaluate(
        """bytes => Promise.all([1, 2, 3].map(() => tympan.transcribe(new Blob([new Uint8Array(bytes)]))))""",
        list(half),
    )
    assert [result["seconds"] for result in results] == [0.5, 0.5, 0.5]
    assert results[0]["tokens"] == results[1]["tokens"] == results[2]["tokens"]


@on_cpu
def test_script_waits_for_a_file_of_the_user(tympan: TympanPage) -> None:
    """Both recordings need the engine, and the page's Python queues them."""
    tympan.page.set_input_files("#file", SPEECH)
    tympan.wait_for("transcribing")
    result = tympan.transcribe(wav(np.zeros(12000), 24000))
    assert result["seconds"] == 0.5
    assert tympan.state == "ready"
    tympan.page.wait_for_selector("#session-list .name:has-text('speech.wav')")


@on_cpu
def test_url_is_transcribed_and_a_wrong_one_rejected(tympan: TympanPage, site: str) -> None:
    result = tympan.page.evaluate(f"tympan.transcribe('{site}/harness/silence.wav')")
    assert result["seconds"] == pytest.approx(0.5)
    with pytest.raises(Error, match="Could not download"):
        tympan.page.evaluate("tympan.transcribe('/no-such-file.wav')")


@on_cpu
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"this is no sound", "no audio that this browser can decode"),
        ("empty.wav", b"", "it is empty"),
        ("click.wav", wav(np.zeros(2400), 24000), "too short"),
    ],
)
def test_error_names_the_bad_file(tympan: TympanPage, name: str, content: bytes, message: str) -> None:
    tympan.choose(name, content)
    assert tympan.state == "error"
    assert name in tympan.error
    assert message in tympan.error
    with pytest.raises(Error, match=message):
        tympan.transcribe(content)
    assert tympan.transcribe(wav(np.zeros(12000), 24000))["seconds"] == 0.5
    assert tympan.page.is_hidden("#error")


def test_no_request_left_the_origin(tympan: TympanPage, site: str) -> None:
    """Last in this file: it looks back on all that the page has done."""
    assert len(tympan.requests) > 10
    assert [url for url in tympan.requests if not url.startswith((site, "blob:", "data:"))] == []
