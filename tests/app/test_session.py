"""Words of a recording: flushes at pauses, delay, backlog and context resets, with a fake model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.app.fake_model import (
    LATE_FRAMES,
    PIECES,
    THREE_SENTENCES,
    TOKENIZER,
    VOICE,
    SimpleTask,
    audio,
    heads_of,
    record,
    sentence,
    transcriber,
)
from tests.awaiting import run
from tympan.config import FRAME_S, FRAME_SAMPLES
from tympan.session import MAX_CONTEXT_S, Session
from tympan.transcriber import FLUSH_S
from tympan.transcript import Trace, Transcript


@pytest.mark.parametrize(
    "options",
    [{}, {"n_heads": 4, "heads": heads_of}, {"delay_s": 2.5, "silence_prefix_s": 1.0}],
    ids=["energy", "heads", "a delay of 2.5 s after a prefix of 1 s"],
)
def test_a_flush_neither_loses_nor_repeats_nor_shifts_words(options: dict[str, Any]) -> None:
    plain = run(transcriber(**options)[0].transcribe(audio(THREE_SENTENCES)))
    assert [word.start for word in plain.words] == [
        pytest.approx(i * FRAME_S) for i, code in enumerate(THREE_SENTENCES) if code > VOICE
    ]
    recorded = record(transcriber(**options)[0], THREE_SENTENCES)
    assert recorded.transcript.text == plain.text
    assert [(w.text, w.start) for w in recorded.transcript.words] == [(w.text, w.start) for w in plain.words]
    assert recorded.reported == [word.text for word in plain.words]
    assert recorded.transcript.seconds == plain.seconds
    assert all(a.end <= b.start for a, b in pairwise(recorded.transcript.words))


def test_the_last_word_before_a_pause_is_reported_within_400_ms_of_its_end() -> None:
    recorded = record(transcriber()[0], THREE_SENTENCES)
    for n in (2, 4, 7):
        word = recorded.transcript.words[n]
        assert recorded.delay_s(word) <= 3 * FRAME_S + 0.4, "240 ms of voice, and the pause"
    assert recorded.delay_s(recorded.transcript.words[0]) == pytest.approx(LATE_FRAMES * FRAME_S)


def test_words_are_reported_before_the_end_of_their_turn() -> None:
    order: list[str] = []

    async def session() -> None:
        recording = Session(
            transcriber(n_heads=4, heads=heads_of)[0],
            live=True,
            on_update=lambda update: order.extend(word.text for word in update.words),
            on_turn=lambda turn: order.append(turn.kind.value),
        )
        for frame in audio([0] * 12 + sentence(1, 2, n_quiet=16)).reshape(-1, FRAME_SAMPLES):
            await recording.feed(frame)
            await SimpleTask()
        recording.abandon()

    run(session())
    first, second = (TOKENIZER.decode([PIECES[VOICE + n]]) for n in (1, 2))
    assert order == ["speech", first, second, "pause", "end"]


def test_a_live_recording_with_a_backlog_is_not_flushed() -> None:
    """All audio arrives at once, so the queue already holds what a flush would feed."""
    fake, lm = transcriber()

    async def session() -> Transcript:
        recording = Session(fake, live=True)
        recording.push(audio(THREE_SENTENCES))
        recording.push(audio([0] * 8))
        return await recording.finish()

    plain = run(transcriber()[0].transcribe(audio(THREE_SENTENCES)))
    transcript = run(session())
    assert transcript.text == plain.text
    assert [w.start for w in transcript.words] == [w.start for w in plain.words]
    n_flushes = (lm.longest - len(THREE_SENTENCES) - 8) / ((0.5 + FLUSH_S) / FRAME_S)
    assert 1 <= n_flushes < 3, "only at the end"


@pytest.mark.parametrize("live", [True, False])
def test_the_context_of_a_long_recording_is_reset_in_its_pauses(live: bool) -> None:
    codes = [0] * 5
    while len(codes) * FRAME_S < 3.5 * MAX_CONTEXT_S:
        codes += sentence(*range(1, 20), n_quiet=20)
    fake, lm = transcriber()
    recorded = record(fake, codes, live=live)
    assert len(lm.states) == 4
    assert lm.longest * FRAME_S < 1.2 * MAX_CONTEXT_S
    starts = [i * FRAME_S for i, code in enumerate(codes) if code > VOICE]
    assert [word.start for word in recorded.transcript.words] == pytest.approx(starts)
    assert recorded.reported == [word.text for word in recorded.transcript.words]


def test_a_traced_recording_is_one_unbroken_stream() -> None:
    codes = sentence(*[1] * 500) + [0] * 20 + sentence(1, 2, n_quiet=20)
    traced = record(transcriber()[0], codes, trace=Trace.TOKENS).transcript
    whole = run(transcriber()[0].transcribe(audio(codes), trace=Trace.TOKENS))
    assert traced.tokens == whole.tokens
