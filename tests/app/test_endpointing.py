"""Turns, by a model that hears perfectly: the amplitude of a frame is its word, said late by the text delay."""

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
from tympan.session import LONGEST_CONTEXT_S, Session, TranscriptUpdate
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word
from tympan.transcriber import FLUSH_S, Transcriber
from tympan.transcript import Trace, Transcript

SPEECH, PAUSE, END, MUTE = TurnKind.SPEECH, TurnKind.PAUSE, TurnKind.END, TurnKind.MUTE
PAD, BOUNDARY = 3, 0
LATE_FRAMES = 6  # the golden config's text delay of 0.5 s, in whole frames
VOICE = 1  # a code: somebody speaks, and no word begins
TOKENIZER = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
PIECES = [i for i in range(4, len(TOKENIZER.pieces)) if TOKENIZER.begins_word(i) and len(TOKENIZER.pieces[i]) > 3]


def sound(codes: Sequence[int]) -> Float32:
    """Frames of 80 ms: code 0 is silence, VOICE a voice, and VOICE + n the frame in which the nth word begins."""
    levels = np.array([0.05 + 0.001 * code if code else 0.0 for code in codes], np.float32)
    return np.repeat(levels, FRAME_SAMPLES)


class FakeMimi:
    """Reads the amplitude."""

    n_states = 0

    def new_state(self) -> None:
        self.n_states += 1

    def encode(self, state: None, frames: Float32) -> Int32:
        return np.round(np.maximum(frames.mean(axis=1, keepdims=True) - 0.05, 0) / 0.001).astype(np.int32)


@dataclass
class Oracle:
    """A transformer that says every word when it is due: a boundary, and one piece after it.

    heads: from the codes so far to the probability of each head's pause. is_mute: whether it says nothing.
    """

    config: LMConfig
    heads: Callable[[list[int]], Float32] | None = None
    is_mute: bool = False
    name: str = "oracle"
    runs_on: str = "nothing"
    longest: int = 0  # of the streams that it was given
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
        due = len(state) + 1 - n_late_frames  # the frame whose word begins to be said
        boundary, piece = (state[frame] if frame >= 0 else 0 for frame in (due, due - 1))
        token = PAD if self.is_mute else BOUNDARY if boundary > VOICE else PIECES[piece] if piece > VOICE else PAD
        return CompletedStep(Step(token, extra_heads=self.heads(state) if self.heads else None))

    def close(self) -> None:
        """Nothing to give back."""


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


@dataclass
class Listened:
    transcript: Transcript
    heard: list[TranscriptUpdate]
    turns: list[Turn]

    @property
    def kinds(self) -> list[TurnKind]:
        return [turn.kind for turn in self.turns]

    @property
    def told(self) -> list[str]:
        return [word.text for heard in self.heard for word in heard.words]

    def delay_s(self, word: Word) -> float:
        """How much sound came after the beginning of a word before it was shown, as a word or as the partial one."""
        n_before = [w.text for w in self.transcript.words if w.start < word.start].count(word.text)
        for heard in self.heard:
            n_before -= [w.text for w in heard.words].count(word.text)
            if n_before < 0 or (n_before == 0 and heard.partial == word.text):
                return round(heard.seconds - word.start, 2)
        raise AssertionError(f"{word} was never shown")


def listen(transcriber: Transcriber, codes: Sequence[int], *, live: bool = True, **options: Any) -> Listened:
    """Hear a recording frame by frame, as fast as it is transcribed."""

    async def session() -> Listened:
        heard: list[TranscriptUpdate] = []
        turns: list[Turn] = []
        recording = Session(transcriber, live=live, on_update=heard.append, on_turn=turns.append, **options)
        for frame in sound(codes).reshape(-1, FRAME_SAMPLES):
            await recording.feed(frame)
            while live and recording.backlog_s:
                await SimpleTask()
            await SimpleTask()
        return Listened(await recording.finish(), heard, turns)

    return run(session())


class SimpleTask:
    """Lets everybody else go first."""

    def __await__(self) -> Any:
        for _ in range(4):
            yield


def sentence(*words: int, n_quiet: int = 0) -> list[int]:
    """Words of 240 ms each, and quiet after them."""
    return [code for word in words for code in (VOICE + word, VOICE, VOICE)] + [0] * n_quiet


THREE_SENTENCES = [0] * 10 + sentence(1, 2, 3, n_quiet=6) + sentence(4, 5, n_quiet=20) + sentence(6, 7, 8, n_quiet=30)


def heads_of(codes: list[int]) -> Float32:
    """Softmax of four heads: element 0 is high after 6 frames of quiet, before the first word too."""
    heads = np.full((4, 6), 0.02, np.float32)
    heads[:, 0] = 0.9 if not any(codes[-6:]) else 0.1
    heads[:2, 0] = 0.9  # the shorter pauses are none of our business
    return heads


def test_pauses_and_ends_of_turns_by_energy() -> None:
    listened = listen(transcriber()[0], THREE_SENTENCES)
    assert listened.kinds == [SPEECH, PAUSE, PAUSE, END, SPEECH, PAUSE, END], "a short pause ends no turn"
    assert [turn.seconds for turn in listened.turns] == sorted(turn.seconds for turn in listened.turns)


def test_ends_of_turns_by_the_heads() -> None:
    listened = listen(transcriber(n_heads=4, heads=heads_of)[0], THREE_SENTENCES)
    assert listened.kinds == [SPEECH, END, SPEECH, END, SPEECH, END], "each once, and none before the first word"


def test_turns_end_where_the_official_heads_say() -> None:
    """The golden checkpoint, whose heads are random: the rule once more, over the official implementation's outputs."""
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
        kinds = [detector.push(said.frame, said.step) async for said in official.stream().steps(golden().pcm)]
        return [n for n, kind in enumerate(kinds, start=1) if END in kind]

    assert run(ends()) == expected


def test_too_few_heads_are_none() -> None:
    listened = listen(transcriber(n_heads=2, heads=lambda codes: heads_of(codes)[:2])[0], THREE_SENTENCES)
    assert listened.kinds.count(END) == 2


def test_heads_that_never_answer_end_turns_late() -> None:
    silent_heads = np.full((4, 6), 1 / 6, np.float32)
    codes = [0] * 10 + sentence(1, 2, n_quiet=60)
    listened = listen(transcriber(n_heads=4, heads=lambda codes: silent_heads)[0], codes)
    assert listened.kinds == [SPEECH, END]


def test_heads_know_nothing_at_the_start() -> None:
    always = np.full((4, 6), 0.9, np.float32)
    listened = listen(transcriber(n_heads=4, heads=lambda codes: always)[0], sentence(1, n_quiet=20))
    assert [turn.seconds for turn in listened.turns if turn.kind is END] == [pytest.approx(13 * FRAME_S)]


@pytest.mark.parametrize(
    "options",
    [{}, {"n_heads": 4, "heads": heads_of}, {"delay_s": 2.5, "silence_prefix_s": 1.0}],
    ids=["energy", "heads", "a delay of 2.5 s after a prefix of 1 s"],
)
def test_a_flush_loses_doubles_and_shifts_nothing(options: dict[str, Any]) -> None:
    plain = run(transcriber(**options)[0].transcribe(sound(THREE_SENTENCES)))
    assert [word.start for word in plain.words] == [
        pytest.approx(i * FRAME_S) for i, code in enumerate(THREE_SENTENCES) if code > VOICE
    ]
    listened = listen(transcriber(**options)[0], THREE_SENTENCES)
    assert listened.transcript.text == plain.text
    assert [(w.text, w.start) for w in listened.transcript.words] == [(w.text, w.start) for w in plain.words]
    assert listened.told == [word.text for word in plain.words]
    assert listened.transcript.seconds == plain.seconds
    assert all(a.end <= b.start for a, b in pairwise(listened.transcript.words))


def test_the_last_word_before_a_pause_is_shown_within_400_ms_of_its_end() -> None:
    listened = listen(transcriber()[0], THREE_SENTENCES)
    for n in (2, 4, 7):
        word = listened.transcript.words[n]
        assert listened.delay_s(word) <= 3 * FRAME_S + 0.4, "240 ms of voice, and the pause"
    assert listened.delay_s(listened.transcript.words[0]) == pytest.approx(LATE_FRAMES * FRAME_S)


def test_words_are_out_when_the_end_of_a_turn_is_told() -> None:
    order: list[str] = []

    async def session() -> None:
        recording = Session(
            transcriber(n_heads=4, heads=heads_of)[0],
            live=True,
            on_update=lambda heard: order.extend(word.text for word in heard.words),
            on_turn=lambda turn: order.append(turn.kind.value),
        )
        for frame in sound([0] * 12 + sentence(1, 2, n_quiet=8)).reshape(-1, FRAME_SAMPLES):
            await recording.feed(frame)
            await SimpleTask()
        recording.abandon()

    run(session())
    first, second = (TOKENIZER.decode([PIECES[VOICE + n]]) for n in (1, 2))
    assert order == ["speech", first, second, "end"]


def test_a_live_voice_that_is_behind_is_not_flushed() -> None:
    """All of it comes at once: whatever a flush could bring is in the queue already."""
    fake, lm = transcriber()

    async def session() -> Transcript:
        recording = Session(fake, live=True)
        recording.hear(sound(THREE_SENTENCES))
        recording.hear(sound([0] * 8))
        return await recording.finish()

    plain = run(transcriber()[0].transcribe(sound(THREE_SENTENCES)))
    transcript = run(session())
    assert transcript.text == plain.text
    assert [w.start for w in transcript.words] == [w.start for w in plain.words]
    n_flushes = (lm.longest - len(THREE_SENTENCES) - 8) / ((0.5 + FLUSH_S) / FRAME_S)
    assert 1 <= n_flushes < 3, "at the end alone"


@pytest.mark.parametrize("live", [True, False])
def test_a_long_recording_begins_anew_in_its_pauses(live: bool) -> None:
    codes = [0] * 5
    while len(codes) * FRAME_S < 3.5 * LONGEST_CONTEXT_S:
        codes += sentence(*range(1, 20), n_quiet=20)
    fake, lm = transcriber()
    listened = listen(fake, codes, live=live)
    assert len(lm.states) == 4
    assert lm.longest * FRAME_S < 1.2 * LONGEST_CONTEXT_S
    starts = [i * FRAME_S for i, code in enumerate(codes) if code > VOICE]
    assert [word.start for word in listened.transcript.words] == pytest.approx(starts)
    assert listened.told == [word.text for word in listened.transcript.words]


def test_a_trace_is_of_one_unbroken_stream() -> None:
    codes = sentence(*[1] * 500) + [0] * 20 + sentence(1, 2, n_quiet=20)
    traced = listen(transcriber()[0], codes, trace=Trace.TOKENS).transcript
    whole = run(transcriber()[0].transcribe(sound(codes), trace=Trace.TOKENS))
    assert traced.tokens == whole.tokens


def test_speech_without_words_is_reported_and_the_model_begins_anew() -> None:
    fake, lm = transcriber(is_mute=True)
    listened = listen(fake, [0] * 5 + ([VOICE] * 20 + [0]) * 24)
    assert listened.kinds.count(MUTE) == 3, "every 10 s of voice"
    assert len(lm.states) == 2, "once, after 30 s"
    assert MUTE not in listen(transcriber()[0], [0] * 5 + sentence(*[1] * MUTE_FRAMES)).kinds


def test_a_file_is_told_of_muteness_alone() -> None:
    assert listen(transcriber()[0], THREE_SENTENCES, live=False).kinds == []
    assert listen(transcriber(is_mute=True)[0], ([VOICE] * 20 + [0]) * 9, live=False).kinds == [MUTE]


def test_a_click_is_no_turn() -> None:
    detector = TurnDetector(replace(golden().lm_config, n_extra_heads=0))
    codes = [0] * 10 + [VOICE] + [0] * END_FRAMES * 2
    kinds = [k for frame in sound(codes).reshape(-1, FRAME_SAMPLES) for k in detector.push(frame, None)]
    assert kinds == []


def noise(rng: np.random.Generator, level_db: float, n_frames: int) -> list[Float32]:
    amplitude = 10 ** (level_db / 20)
    return [(amplitude * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32) for _ in range(n_frames)]


@pytest.mark.parametrize(("room_db", "voice_db"), [(-100, -45), (-70, -35), (-60, -30), (-45, -20), (-30, -8)])
def test_the_gate_tells_a_voice_from_a_room(room_db: float, voice_db: float) -> None:
    rng = np.random.default_rng(0)
    gate = EnergyVAD()
    for frame in noise(rng, room_db, 80):
        gate(frame)
    assert not any(gate(frame) for frame in noise(rng, room_db, 40))
    assert all(gate(frame) for frame in noise(rng, voice_db, 10))
    assert not any(gate(frame) for frame in noise(rng, room_db, 40))


def test_the_gate_hears_a_voice_in_the_first_frame_and_gets_used_to_a_hum() -> None:
    rng = np.random.default_rng(0)
    gate = EnergyVAD()
    assert gate(noise(rng, -30, 1)[0])
    hum = [gate(frame) for frame in noise(rng, -40, 250)]
    assert not any(hum[200:])
