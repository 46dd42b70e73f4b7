"""Endpointing and sessions, with a fake model: the amplitude of a frame encodes its word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import floor
from typing import Any, cast

import numpy as np
import pytest

from tests.app.golden import GOLDEN, golden
from tests.awaiting import run
from tympan.arrays import Float32, Int32
from tympan.config import FRAME_S, FRAME_SAMPLES, LMConfig
from tympan.endpointing import END_FRAMES, MUTE_FRAMES, EnergyVAD, Turn, TurnDetector, TurnKind
from tympan.lm.backend import CompletedStep, Step
from tympan.lm.reference import Reference
from tympan.mimi.encoder import Mimi
from tympan.session import MAX_CONTEXT_S, Session, TranscriptUpdate
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word
from tympan.transcriber import FLUSH_S, Transcriber
from tympan.transcript import Trace, Transcript

SPEECH, PAUSE, END, MUTE = TurnKind.SPEECH, TurnKind.PAUSE, TurnKind.END, TurnKind.MUTE
PAD, BOUNDARY = 3, 0
LATE_FRAMES = 6  # the golden config's text delay of 0.5 s, in whole frames
VOICE = 1  # a code: voice without the start of a word
TOKENIZER = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
PIECES = [i for i in range(4, len(TOKENIZER.pieces)) if TOKENIZER.begins_word(i) and len(TOKENIZER.pieces[i]) > 3]


def audio(codes: Sequence[int]) -> Float32:
    """80 ms frames: code 0 is silence, VOICE is voice, and VOICE + n is the frame in which the nth word starts."""
    levels = np.array([0.05 + 0.001 * code if code else 0.0 for code in codes], np.float32)
    return np.repeat(levels, FRAME_SAMPLES)


class FakeMimi:
    """Decodes the amplitude of each frame into its code."""

    n_states = 0

    def new_state(self) -> None:
        self.n_states += 1

    def encode(self, state: None, frames: Float32) -> Int32:
        return np.round(np.maximum(frames.mean(axis=1, keepdims=True) - 0.05, 0) / 0.001).astype(np.int32)


@dataclass
class Oracle:
    """A transformer that emits each word after the text delay: a boundary, then one piece.

    heads: maps the codes so far to the softmax of the pause heads. is_mute: emit padding only.
    """

    config: LMConfig
    heads: Callable[[list[int]], Float32] | None = None
    is_mute: bool = False
    name: str = "oracle"
    runs_on: str = "nothing"
    longest: int = 0  # context, in frames
    states: list[list[int]] = field(default_factory=list)

    def new_state(self, position: int = 0) -> list[int]:
        self.states.append([])
        return self.states[-1]

    def step(
        self, state: list[int], codes: Int32 | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        if codes is not None:
            state.append(int(codes[0]))
        self.longest = max(self.longest, len(state))
        n_late_frames = floor(self.config.delay_s / FRAME_S + 1e-6)
        due = len(state) + 1 - n_late_frames  # the frame whose word is emitted next
        boundary, piece = (state[frame] if frame >= 0 else 0 for frame in (due, due - 1))
        token = PAD if self.is_mute else BOUNDARY if boundary > VOICE else PIECES[piece] if piece > VOICE else PAD
        return CompletedStep(Step(token, extra_heads=self.heads(state) if self.heads else None))

    def close(self) -> None:
        """Does nothing."""


def transcriber(
    n_heads: int = 0, delay_s: float = 0.5, silence_prefix_s: float = 0.0, **oracle: Any
) -> tuple[Transcriber, Oracle]:
    config = replace(
        golden().lm_config,
        n_extra_heads=n_heads,
        n_codebooks=1,
        delay_s=delay_s,
        silence_prefix_s=silence_prefix_s,
    )
    lm = Oracle(config, **oracle)
    return Transcriber(cast(Mimi, FakeMimi()), lm, TOKENIZER), lm


class FakeTranscriber:
    """A transcriber with the fake model."""

    tokenizer = TOKENIZER

    def __init__(self) -> None:
        self.transcriber, self.oracle = transcriber()


@dataclass
class Recorded:
    transcript: Transcript
    updates: list[TranscriptUpdate]
    turns: list[Turn]

    @property
    def kinds(self) -> list[TurnKind]:
        return [turn.kind for turn in self.turns]

    @property
    def reported(self) -> list[str]:
        return [word.text for update in self.updates for word in update.words]

    def delay_s(self, word: Word) -> float:
        """How much audio followed the start of a word before it was reported, as a word or as the partial word."""
        n_before = [w.text for w in self.transcript.words if w.start < word.start].count(word.text)
        for update in self.updates:
            n_before -= [w.text for w in update.words].count(word.text)
            if n_before < 0 or (n_before == 0 and update.partial == word.text):
                return round(update.seconds - word.start, 2)
        raise AssertionError(f"{word} was never reported")


def record(transcriber: Transcriber, codes: Sequence[int], *, live: bool = True, **options: Any) -> Recorded:
    """Transcribe a recording frame by frame, as fast as it can be transcribed."""

    async def session() -> Recorded:
        updates: list[TranscriptUpdate] = []
        turns: list[Turn] = []
        recording = Session(transcriber, live=live, on_update=updates.append, on_turn=turns.append, **options)
        for frame in audio(codes).reshape(-1, FRAME_SAMPLES):
            await recording.feed(frame)
            while live and recording.backlog_s:
                await SimpleTask()
            await SimpleTask()
        return Recorded(await recording.finish(), updates, turns)

    return run(session())


class SimpleTask:
    """Lets all other tasks run."""

    def __await__(self) -> Any:
        for _ in range(4):
            yield


def sentence(*words: int, n_quiet: int = 0) -> list[int]:
    """Words of 240 ms each, followed by quiet."""
    return [code for word in words for code in (VOICE + word, VOICE, VOICE)] + [0] * n_quiet


THREE_SENTENCES = [0] * 10 + sentence(1, 2, 3, n_quiet=6) + sentence(4, 5, n_quiet=20) + sentence(6, 7, 8, n_quiet=30)


def heads_of(codes: list[int]) -> Float32:
    """Softmax of four heads: element 0 is high after 6 quiet frames, also before the first word."""
    heads = np.full((4, 6), 0.02, np.float32)
    heads[:, 0] = 0.9 if not any(codes[-6:]) else 0.1
    heads[:2, 0] = 0.9  # the heads for shorter pauses must be ignored
    return heads


def test_pauses_and_ends_of_turns_by_energy() -> None:
    recorded = record(transcriber()[0], THREE_SENTENCES)
    assert recorded.kinds == [SPEECH, PAUSE, PAUSE, END, SPEECH, PAUSE, END], "a short pause ends no turn"
    assert [turn.seconds for turn in recorded.turns] == sorted(turn.seconds for turn in recorded.turns)


def test_ends_of_turns_by_the_heads() -> None:
    recorded = record(transcriber(n_heads=4, heads=heads_of)[0], THREE_SENTENCES)
    assert recorded.kinds == [SPEECH, END, SPEECH, END, SPEECH, END], "each turn ends once, none before the first word"


def test_turns_end_where_the_official_heads_detect_it() -> None:
    """The rule applied to the official outputs of the golden checkpoint, whose heads are random."""
    tokens, heads = golden().expected["primed_text_tokens"], golden().expected["primed_extra_heads"]
    expected, is_armed = [], False
    for n in range(1, 76):
        is_armed |= tokens[n] not in (PAD, BOUNDARY)
        if n > 12 and is_armed and heads[n, 2, 0] > 0.5:
            expected.append(n)
            is_armed = False
    assert expected

    async def ends() -> list[int]:
        official = Transcriber(golden().mimi, Reference(golden().lm_config, golden().lm_weights), TOKENIZER)
        detector = TurnDetector(golden().lm_config)
        kinds = [detector.push(result.frame, result.step) async for result in official.stream().steps(golden().pcm)]
        return [n for n, kind in enumerate(kinds, start=1) if END in kind]

    assert run(ends()) == expected


def test_too_few_heads_are_ignored() -> None:
    recorded = record(transcriber(n_heads=2, heads=lambda codes: heads_of(codes)[:2])[0], THREE_SENTENCES)
    assert recorded.kinds.count(END) == 2


def test_turns_end_after_3_s_of_quiet_if_the_heads_do_not_respond() -> None:
    silent_heads = np.full((4, 6), 1 / 6, np.float32)
    codes = [0] * 10 + sentence(1, 2, n_quiet=60)
    recorded = record(transcriber(n_heads=4, heads=lambda codes: silent_heads)[0], codes)
    assert recorded.kinds == [SPEECH, END]


def test_heads_are_ignored_at_the_start() -> None:
    always = np.full((4, 6), 0.9, np.float32)
    recorded = record(transcriber(n_heads=4, heads=lambda codes: always)[0], sentence(1, n_quiet=20))
    assert [turn.seconds for turn in recorded.turns if turn.kind is END] == [pytest.approx(13 * FRAME_S)]


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
        for frame in audio([0] * 12 + sentence(1, 2, n_quiet=8)).reshape(-1, FRAME_SAMPLES):
            await recording.feed(frame)
            await SimpleTask()
        recording.abandon()

    run(session())
    first, second = (TOKENIZER.decode([PIECES[VOICE + n]]) for n in (1, 2))
    assert order == ["speech", first, second, "end"]


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


def test_speech_without_words_is_reported_and_resets_the_context() -> None:
    fake, lm = transcriber(is_mute=True)
    recorded = record(fake, [0] * 5 + ([VOICE] * 20 + [0]) * 24)
    assert recorded.kinds.count(MUTE) == 3, "every 10 s of voice"
    assert len(lm.states) == 2, "once, after 30 s"
    assert MUTE not in record(transcriber()[0], [0] * 5 + sentence(*[1] * MUTE_FRAMES)).kinds


def test_a_file_reports_only_mute_events() -> None:
    assert record(transcriber()[0], THREE_SENTENCES, live=False).kinds == []
    assert record(transcriber(is_mute=True)[0], ([VOICE] * 20 + [0]) * 9, live=False).kinds == [MUTE]


def test_a_click_does_not_start_a_turn() -> None:
    detector = TurnDetector(replace(golden().lm_config, n_extra_heads=0))
    codes = [0] * 10 + [VOICE] + [0] * END_FRAMES * 2
    kinds = [k for frame in audio(codes).reshape(-1, FRAME_SAMPLES) for k in detector.push(frame, None)]
    assert kinds == []


def noise(rng: np.random.Generator, level_db: float, n_frames: int) -> list[Float32]:
    amplitude = 10 ** (level_db / 20)
    return [(amplitude * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32) for _ in range(n_frames)]


@pytest.mark.parametrize(("room_db", "voice_db"), [(-100, -45), (-70, -35), (-60, -30), (-45, -20), (-30, -8)])
def test_the_vad_distinguishes_voice_from_room_noise(room_db: float, voice_db: float) -> None:
    rng = np.random.default_rng(0)
    vad = EnergyVAD()
    for frame in noise(rng, room_db, 80):
        vad(frame)
    assert not any(vad(frame) for frame in noise(rng, room_db, 40))
    assert all(vad(frame) for frame in noise(rng, voice_db, 10))
    assert not any(vad(frame) for frame in noise(rng, room_db, 40))


def test_the_vad_detects_voice_in_the_first_frame_and_adapts_to_a_hum() -> None:
    rng = np.random.default_rng(0)
    vad = EnergyVAD()
    assert vad(noise(rng, -30, 1)[0])
    hum = [vad(frame) for frame in noise(rng, -40, 250)]
    assert not any(hum[200:])
