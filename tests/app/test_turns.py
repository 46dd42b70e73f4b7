"""Guarantees of the events of endpointing, for random streams, and turns with numbers read in groups."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.app.fake_model import PIECES, VOICE, audio, record, sentence, transcriber
from tests.app.golden import golden
from tympan.arrays import Float32
from tympan.config import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ, LMConfig
from tympan.embed.wav import decode_wav
from tympan.endpointing import LONG_SILENCE_S, MAX_DELAY_S, TurnDetector, TurnKind
from tympan.lm.backend import Step
from tympan.protocol import MAX_SILENCE_S, MIN_SILENCE_S, SILENCE_S

GOLDEN = Path(__file__).parents[1] / "golden"
SPEECH, PAUSE, END, MUTE = TurnKind.SPEECH, TurnKind.PAUSE, TurnKind.END, TurnKind.MUTE
TOKENS = st.sampled_from([3, 3, 3, 0, PIECES[0], PIECES[1]])
SILENCES = st.floats(MIN_SILENCE_S, MAX_SILENCE_S)


def config(n_heads: int) -> LMConfig:
    return replace(golden().lm_config, n_extra_heads=n_heads)


def heads(probability: float) -> Float32:
    return np.full((4, 6), probability, np.float32)


def step(token: int, probability: float) -> Step:
    return Step(token, extra_heads=heads(probability))


FRAMES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.001, 0.05, 0.3]), TOKENS, st.sampled_from([0.1, 0.9]), st.integers(1, 20)),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(FRAMES, st.sampled_from([0, 2, 4]), SILENCES)
def test_turns_alternate_and_contain_all_other_events(
    runs: list[tuple[float, int, float, int]], n_heads: int, silence_s: float
) -> None:
    detector, is_speaking = TurnDetector(config(n_heads), silence_s), False
    events = []
    for level, token, probability, n in runs:
        for _ in range(n):
            events += detector.push(np.full(FRAME_SAMPLES, level, np.float32), step(token, probability))
    events += detector.finish()
    for kind in events:
        if kind in (SPEECH, END):
            assert (kind is END) == is_speaking, events
            is_speaking = kind is SPEECH
        else:
            assert is_speaking, events
    assert not is_speaking
    assert detector.finish() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 20), st.integers(1, 60)), min_size=1, max_size=8), SILENCES)
def test_a_turn_ends_after_the_silence_and_not_before(runs: list[tuple[int, int]], silence_s: float) -> None:
    """runs: frames of voice and of quiet, alternately."""
    detector, n_frames, n_quiet, n_end = TurnDetector(config(0), silence_s), 0, 0, ceil(silence_s / FRAME_S - 1e-6)
    for n_voice, n_silent in runs:
        for code in [VOICE] * n_voice + [0] * n_silent:
            kinds = detector.push(audio([code]), None)
            n_frames, n_quiet = n_frames + 1, 0 if code else n_quiet + 1
            assert (END in kinds) == (n_quiet == max(n_end, 5)), (n_frames, n_quiet)
    assert max(n_end, 5) * FRAME_S - max(silence_s, 0.4) - 1e-6 <= MAX_DELAY_S


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 45)), min_size=1, max_size=6), st.booleans())
def test_events_of_a_session_are_in_order(runs: list[tuple[int, int]], has_heads: bool) -> None:
    codes = [0] * 4 + [code for n_words, n_quiet in runs for code in sentence(*range(1, n_words + 1), n_quiet=n_quiet)]
    fake, _ = transcriber(n_heads=4 if has_heads else 0, heads=lambda codes: heads(0.9) if has_heads else None)
    recorded = record(fake, codes)
    assert [turn.seconds for turn in recorded.turns] == sorted(turn.seconds for turn in recorded.turns)
    assert all(0 < turn.seconds <= len(codes) * FRAME_S + 1e-6 for turn in recorded.turns)
    ends = [turn.kind for turn in recorded.turns if turn.kind in (SPEECH, END)]
    assert ends == [SPEECH, END] * (len(ends) // 2)
    assert ends, "there is speech"
    assert recorded.reported == [word.text for word in recorded.transcript.words]


# Card, phone and other numbers, in the groups in which they are read.
NUMBERS = ["4929 1811 7305 6642", "555 014 2837", "06 12 98 43 70", "731 9046", "8 24 517"]


@cache
def digit(name: str) -> Float32:
    """A person's recording of a digit without the silence around it: float32, 24 kHz."""
    pcm = decode_wav((GOLDEN / "digits" / f"{name}.wav").read_bytes())
    voiced = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    return pcm[voiced[0] : voiced[-1] + 1]


def read_in_groups(rng: np.random.Generator, number: str, room_db: float) -> tuple[Float32, float]:
    """A number read with pauses of 0.4 to 0.9 s between its groups, in a room with noise; and when it ends."""
    parts = [np.zeros(8 * FRAME_SAMPLES, np.float32)]
    for group in number.split():
        parts += [digit(name) for name in group]
        parts.append(np.zeros(int(rng.uniform(0.4, 0.9) * SAMPLE_RATE_HZ), np.float32))
    parts[-1] = np.zeros(4 * SAMPLE_RATE_HZ, np.float32)
    pcm = np.concatenate(parts)
    pcm += rng.standard_normal(len(pcm)).astype(np.float32) * np.float32(10 ** (room_db / 20))
    return pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES], len(pcm) / SAMPLE_RATE_HZ - 4


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("room_db", [-90, -60])
@pytest.mark.parametrize("head", [None, 0.9, 0.1])
def test_a_number_read_in_groups_is_one_turn(number: str, room_db: float, head: float | None) -> None:
    """Also with heads that detect the end of the turn in every frame."""
    for seed in range(4):
        pcm, end_s = read_in_groups(np.random.default_rng(seed), number, room_db)
        detector = TurnDetector(config(0 if head is None else 4))
        ends, starts = [], []
        for n, frame in enumerate(pcm.reshape(-1, FRAME_SAMPLES), start=1):
            kinds = detector.push(frame, None if head is None else step(3, head))
            ends += [n * FRAME_S] * (END in kinds)
            starts += [n * FRAME_S] * (SPEECH in kinds)
        assert (len(starts), len(ends)) == (1, 1)
        wanted_s = end_s + (LONG_SILENCE_S if head == 0.1 else SILENCE_S)
        assert end_s < ends[0] <= wanted_s + 0.4


def test_a_shorter_silence_ends_turns_between_groups() -> None:
    pcm, _ = read_in_groups(np.random.default_rng(1), "555 014 2837", -90)
    detector = TurnDetector(config(0), silence_s=MIN_SILENCE_S)
    kinds = [kind for frame in pcm.reshape(-1, FRAME_SAMPLES) for kind in detector.push(frame, None)]
    assert kinds.count(END) == 3


def test_text_that_the_delay_explains_starts_no_turn() -> None:
    detector = TurnDetector(replace(config(0), delay_s=0.96))
    codes = [0] * 4 + [VOICE] * 5 + [0] * 16
    kinds = [kind for code in codes for kind in detector.push(audio([code]), step(3, 0))]
    assert kinds == [SPEECH, PAUSE, END]
    assert detector.push(audio([0]), step(PIECES[0], 0)) == []


def test_speech_below_the_threshold_of_the_vad_is_a_turn() -> None:
    """A model can understand speech that is too quiet for the VAD."""
    detector = TurnDetector(config(0))
    kinds = [kind for n in range(80) for kind in detector.push(audio([0]), step(PIECES[n % 2] if n % 4 else 3, 0))]
    assert kinds[0] is SPEECH
    assert END not in kinds
    assert all(a is not b for a, b in pairwise(kinds))
