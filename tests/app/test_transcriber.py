"""The main path in CPython: whole recordings, streams, and sessions that are transcribed as audio arrives."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.app.golden import GOLDEN, golden
from tests.awaiting import run
from tympan.arrays import Float32
from tympan.codes import Codes
from tympan.config import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.errors import BadOption, DeviceLost, TooSlow
from tympan.lm.backend import CompletedStep
from tympan.lm.reference import Reference, ReferenceState
from tympan.loading import load
from tympan.resample import Resampler
from tympan.session import MAX_BACKLOG_S, Session, TranscriptUpdate
from tympan.text.tokenizer import Tokenizer
from tympan.transcriber import Transcriber
from tympan.transcript import Trace, Transcript
from tympan.weights.model import Folder

DEMO = Path(__file__).parents[2] / "static" / "models" / "demo"


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    tokenizer = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
    return Transcriber(golden().mimi, Reference(golden().lm_config, golden().lm_weights), tokenizer)


@pytest.fixture(scope="module")
def whole(transcriber: Transcriber) -> Transcript:
    return run(transcriber.transcribe(golden().pcm, trace=Trace.LOGITS))


def test_a_recording_matches_the_official_codes_tokens_and_logits(whole: Transcript) -> None:
    expected = golden().expected
    n_frames, n_steps = expected["stream_codes"].shape[1], len(expected["primed_text_tokens"])
    assert whole.codes is not None
    assert whole.tokens is not None
    assert whole.logits is not None
    np.testing.assert_array_equal(whole.codes[:n_frames], expected["stream_codes"].T)
    np.testing.assert_array_equal(whole.tokens[:n_steps], expected["primed_text_tokens"])
    np.testing.assert_allclose(np.array(whole.logits[:n_steps]), expected["primed_text_logits"], atol=1e-4)
    assert whole.frames == 75
    assert whole.seconds == 6.0
    assert len(whole.tokens) == len(whole.codes) + 1


def test_the_direct_trace_has_the_tokens_of_the_official_script(transcriber: Transcriber) -> None:
    expected = golden().expected
    direct = run(transcriber.transcribe(golden().pcm, trace=Trace.DIRECT))
    assert direct.codes is not None
    assert direct.tokens is not None
    np.testing.assert_array_equal(direct.codes[: len(expected["stream_codes"].T)], expected["stream_codes"].T)
    np.testing.assert_array_equal(direct.tokens[: len(expected["direct_text_tokens"])], expected["direct_text_tokens"])
    assert not np.array_equal(direct.tokens[:60], expected["primed_text_tokens"][:60]), "which differ"
    assert len(direct.tokens) == len(direct.codes)


def test_the_text_is_the_decoded_tokens(whole: Transcript, transcriber: Transcriber) -> None:
    assert whole.tokens is not None
    assert whole.text == transcriber.tokenizer.decode(whole.tokens)
    assert "".join(word.text for word in whole.words) == whole.text.replace(" ", "")


def test_traces_are_kept_only_on_request(transcriber: Transcriber) -> None:
    plain = run(transcriber.transcribe(golden().pcm[: 10 * FRAME_SAMPLES]))
    assert (plain.codes, plain.tokens, plain.logits) == (None, None, None)
    assert set(plain.to_json()) == {"text", "words", "seconds", "frames", "timing", "stuck"}


@pytest.mark.parametrize("chunk", [1000, FRAME_SAMPLES, 5001])
def test_the_result_does_not_depend_on_the_chunk_size(whole: Transcript, transcriber: Transcriber, chunk: int) -> None:
    async def streamed() -> Transcript:
        stream = transcriber.stream(trace=Trace.TOKENS)
        for start in range(0, len(golden().pcm), chunk):
            await stream.feed(golden().pcm[start : start + chunk])
        return await stream.finish()

    result = run(streamed())
    assert (result.tokens, result.words) == (whole.tokens, whole.words)


def test_a_last_partial_frame_is_not_lost(transcriber: Transcriber) -> None:
    result = run(transcriber.transcribe(golden().pcm[: 10 * FRAME_SAMPLES + 1], trace=Trace.TOKENS))
    assert result.frames == 11


def test_no_audio_gives_an_empty_transcript(transcriber: Transcriber) -> None:
    result = run(transcriber.transcribe(np.zeros(0, np.float32)))
    assert (result.frames, result.seconds) == (0, 0.0)


def test_the_demo_model_transcribes_synthetic_speech() -> None:
    """The shipped weights, on the speech that the browser tests also use."""
    with wave.open(str(GOLDEN.parent / "speech.wav")) as file:
        samples = (np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768).astype(np.float32)
        resampler = Resampler(file.getframerate(), SAMPLE_RATE_HZ)
    loaded = run(load(Folder(DEMO), "numpy"))
    result = run(loaded.transcriber.transcribe(np.concatenate([resampler(samples), resampler.flush()])))
    assert "can you help me with this week" in result.text
    assert loaded.manifest.languages == ("en",)


def test_an_unknown_backend_is_rejected_before_anything_is_read() -> None:
    with pytest.raises(BadOption, match="auto, webgpu, simd, numpy"):
        run(load(Folder(Path("nowhere")), "abacus"))


def test_a_session_reports_every_frame_and_ends_like_a_stream(whole: Transcript, transcriber: Transcriber) -> None:
    updates: list[TranscriptUpdate] = []

    async def session() -> Transcript:
        recording = Session(transcriber, trace=Trace.TOKENS, on_update=updates.append)
        await recording.feed(golden().pcm)
        return await recording.finish()

    assert run(session()).tokens == whole.tokens
    assert len(updates) == 76, "the last one has the words of the flush"
    assert [update.seconds for update in updates] == sorted(update.seconds for update in updates)
    assert updates[-1].backlog_s == 0
    reported = [word.text for update in updates for word in update.words]
    assert reported == [word.text for word in whole.words][: len(reported)]


def test_a_session_resamples_other_sample_rates(transcriber: Transcriber) -> None:
    async def session() -> Transcript:
        recording = Session(transcriber, 48_000)
        recording.push(np.zeros(48_000, np.float32))
        return await recording.finish()

    assert run(session()).seconds == pytest.approx(1.0, abs=0.01)


def test_a_file_is_read_no_faster_than_it_is_transcribed(transcriber: Transcriber) -> None:
    async def session() -> float:
        recording = Session(transcriber)
        for _ in range(4):
            await recording.feed(np.zeros(2 * SAMPLE_RATE_HZ, np.float32))
        return recording.backlog_s

    assert run(session()) <= 4.0


def test_too_large_a_backlog_is_an_error_and_loses_no_audio(transcriber: Transcriber) -> None:
    n_seconds = int(MAX_BACKLOG_S) + 1

    async def session() -> None:
        recording = Session(transcriber)
        for _ in range(n_seconds):
            recording.push(np.zeros(SAMPLE_RATE_HZ, np.float32))
        assert recording.backlog_s == n_seconds, "all audio is kept"
        with pytest.raises(TooSlow):
            recording.push(np.zeros(SAMPLE_RATE_HZ, np.float32))
        recording.abandon()

    run(session())


def test_an_abandoned_session_stops_in_the_middle(transcriber: Transcriber) -> None:
    updates: list[TranscriptUpdate] = []

    async def session() -> None:
        recording = Session(transcriber, on_update=updates.append)
        recording.push(np.zeros(4 * SAMPLE_RATE_HZ, np.float32))
        while not updates:
            await asyncio.sleep(0)
        recording.abandon()
        await recording._worker

    run(session())
    assert len(updates) == 1, "the first frame yields to the event loop"


class Failing(Reference):
    """A backend that fails after a second."""

    def step(
        self, state: ReferenceState, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        if state.position == 12:
            raise DeviceLost("unplugged")
        return super().step(state, codes, text=text, want_logits=want_logits)


def test_an_error_of_the_backend_is_raised_by_feed_and_finish(transcriber: Transcriber) -> None:
    broken = Transcriber(transcriber.mimi, Failing(golden().lm_config, golden().lm_weights), transcriber.tokenizer)
    audio: Float32 = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)

    async def feed() -> None:
        await Session(broken).feed(audio)

    async def finish() -> None:
        session = Session(broken)
        session.push(audio)
        await session.finish()

    for failing in (feed, finish):
        with pytest.raises(DeviceLost, match="unplugged"):
            run(failing())
