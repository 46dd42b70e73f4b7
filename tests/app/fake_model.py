"""A fake model for recordings, in which the amplitude of a frame encodes its word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import floor
from typing import Any, cast

import numpy as np

from tests.app.golden import GOLDEN, golden
from tests.awaiting import run
from tympan.arrays import Float32
from tympan.codes import CodeReader, Codes, PendingCodes
from tympan.config import FRAME_S, FRAME_SAMPLES, LMConfig
from tympan.endpointing import Turn, TurnKind
from tympan.lm.backend import CompletedStep, Step
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.mimi.backend import CompletedCodes
from tympan.mimi.encoder import Mimi
from tympan.session import Session, TranscriptUpdate
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word
from tympan.transcriber import Transcriber
from tympan.transcript import Transcript

PAD, BOUNDARY = 3, 0
LATE_FRAMES = 6  # the golden config's text delay of 0.5 s, in whole frames
VOICE = 1  # a code: voice without the start of a word
TOKENIZER = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
PIECES = [i for i in range(4, len(TOKENIZER.pieces)) if TOKENIZER.begins_word(i) and len(TOKENIZER.pieces[i]) > 3]


def audio(codes: Sequence[int]) -> Float32:
    """80 ms frames: code 0 is silence, VOICE is voice, and VOICE + n is the frame in which the nth word starts."""
    levels = np.array([0.05 + 0.001 * code if code else 0.0 for code in codes], np.float32)
    return np.repeat(levels, FRAME_SAMPLES)


def sentence(*words: int, n_quiet: int = 0) -> list[int]:
    """Words of 240 ms each, followed by quiet."""
    return [code for word in words for code in (VOICE + word, VOICE, VOICE)] + [0] * n_quiet


THREE_SENTENCES = [0] * 10 + sentence(1, 2, 3, n_quiet=6) + sentence(4, 5, n_quiet=20) + sentence(6, 7, 8, n_quiet=30)


class FakeMimi:
    """Decodes the amplitude of each frame into its code."""

    n_states = 0
    max_frames = 8

    def new_state(self) -> None:
        self.n_states += 1

    def start(self, state: None, frames: Float32) -> CompletedCodes:
        codes = np.round(np.maximum(frames.mean(axis=1, keepdims=True) - 0.05, 0) / 0.001).astype(np.int32)
        return CompletedCodes(codes)


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
    code_reader: CodeReader | None = None
    max_steps: int = 1
    longest: int = 0  # context, in frames
    states: list[list[int]] = field(default_factory=list)

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> list[int]:
        self.states.append([])
        return self.states[-1]

    def step(
        self, state: list[int], codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        assert not isinstance(codes, PendingCodes)
        if codes is not None:
            state.append(int(codes[0]))
        self.longest = max(self.longest, len(state))
        n_late_frames = floor(self.config.delay_s / FRAME_S + 1e-6)
        due = len(state) + 1 - n_late_frames  # the frame whose word is emitted next
        boundary, piece = (state[frame] if frame >= 0 else 0 for frame in (due, due - 1))
        token = PAD if self.is_mute else BOUNDARY if boundary > VOICE else PIECES[piece] if piece > VOICE else PAD
        return CompletedStep(Step(token, extra_heads=self.heads(state) if self.heads else None, codes=codes))

    def steps(self, state: list[int], codes: Codes) -> list[CompletedStep]:
        return [self.step(state, frame) for frame in codes]

    def close(self) -> None:
        """Do nothing."""


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


def heads_of(codes: list[int]) -> Float32:
    """Softmax of four heads: element 0 is high after 6 quiet frames, also before the first word."""
    heads = np.full((4, 6), 0.02, np.float32)
    heads[:, 0] = 0.9 if not any(codes[-6:]) else 0.1
    heads[:2, 0] = 0.9  # the heads for shorter pauses must be ignored
    return heads


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
