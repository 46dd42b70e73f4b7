"""Text tokens, one per step -> words with times.

The model emits token 0 one step before a word starts, then the word's pieces, then padding. All of these lag the audio
by the text delay, which the model has learned; the times are corrected for it.
Source: kyutai-labs/moshi@e6a55d2 rust/moshi-core/src/asr.rs (the times of the Rust server, on the 80 ms grid).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from tympan.confidence import Calibration
from tympan.config import FIRST_TEXT_ID, FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.text.tokenizer import Tokenizer

MAX_TAIL_S = 1.0  # the model does not mark where a word ends: at the next word, or this long after the last piece


@dataclass(frozen=True)
class Alternative:
    """Another text that a word may be."""

    text: str
    confidence: float  # in [0, 1]


@dataclass(frozen=True)
class Word:
    """A word and its time, in seconds from the start of the audio."""

    text: str
    start: float
    end: float
    confidence: float = 1.0  # the probability that the text is right, in [0, 1]
    alternatives: tuple[Alternative, ...] = ()  # most likely first

    def to_json(self) -> dict[str, Any]:
        alternatives = [{"text": other.text, "confidence": other.confidence} for other in self.alternatives]
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "confidence": self.confidence,
            "alternatives": alternatives,
        }

    @classmethod
    def from_json(cls, word: Mapping[str, Any]) -> Word:
        """Read the result of `to_json`. Words that were stored by earlier versions have no confidence."""
        alternatives = [Alternative(other["text"], other["confidence"]) for other in word.get("alternatives", ())]
        return cls(word["text"], word["start"], word["end"], word.get("confidence", 1.0), tuple(alternatives))


@dataclass(frozen=True)
class _Piece:
    """A token of a word: its probability, and (token, probability) of the next most likely ones."""

    token: int
    probability: float
    others: Sequence[tuple[int, float]]


class WordBuilder:
    """Builds the words of one stream. The work per token does not depend on the number of words so far.

    words: all completed words. The end of the newest is an estimate until the next word starts.
    """

    def __init__(self, config: LMConfig, tokenizer: Tokenizer, calibration: Calibration | None = None) -> None:
        self.words: list[Word] = []
        self._padding_id, self._tokenizer = config.padding_id, tokenizer
        self._calibration = calibration or Calibration()
        self._n_prefix_steps = ceil(config.silence_prefix_s / FRAME_S - 1e-6)
        self._n_late_steps = floor(config.delay_s / FRAME_S + 1e-6) + self._n_prefix_steps
        self._n_steps = 0  # since the start or the last reset
        self._reset_s = 0.0  # the time of the last reset
        self._skipped: list[int] = []  # frames since then that are excluded from the audio time
        self._boundary_s: float | None = None  # the time of a boundary token that no word has followed yet
        self._pieces: list[_Piece] = []  # of the word in progress
        self._start_s = 0.0  # of the word in progress
        self._newest_end_s = 0.0  # the latest possible end of the newest word

    @property
    def partial(self) -> str:
        """The text so far of the word in progress."""
        return self._tokenizer.decode([piece.token for piece in self._pieces])

    def push(self, token: int, probability: float = 1.0, others: Sequence[tuple[int, float]] = ()) -> list[Word]:
        """Add the token of the next step, starting with step 0; return the words that it completes, at most one.

        probability: of the token. others: the next most likely tokens and their probabilities.
        """
        self._n_steps += 1
        now_s = self._seconds(self._n_steps)
        if token == WORD_BOUNDARY_ID:
            closed = self._close(now_s)
            self._end_newest(now_s)
            self._boundary_s = now_s
            return closed
        if token == self._padding_id:
            return self._close(now_s)
        unmarked_s = self._seconds(self._n_steps - 1)  # without a boundary token: a step before the first piece
        closed = self._close(unmarked_s) if self._tokenizer.begins_word(token) else []
        if not self._pieces:
            self._start_s = unmarked_s if self._boundary_s is None else self._boundary_s
            self._boundary_s = None
            self._end_newest(self._start_s)
        self._pieces.append(_Piece(token, probability, others))
        return closed

    def skip_frame(self) -> None:
        """Exclude the frame that the next step reads from the audio time."""
        self._skipped.append(self._n_steps - 1 - self._n_prefix_steps)

    def reset(self, now_s: float) -> list[Word]:
        """The model's context is reset at `now_s`: return the word in progress, if any. The next step is step 0."""
        closed = self.finish(now_s)
        self._n_steps, self._reset_s, self._boundary_s = 0, now_s, None
        self._skipped.clear()
        return closed

    def finish(self, end_s: float) -> list[Word]:
        """The audio ends at `end_s` seconds: return the word in progress, if any."""
        closed = self._close(end_s)
        self._end_newest(end_s)
        return closed

    def _seconds(self, n_steps: int) -> float:
        """The audio time of the text emitted in the current step, the first step being n_steps = 1."""
        n_frames = max(0, n_steps - self._n_late_steps)
        return round(self._reset_s + (n_frames - bisect_left(self._skipped, n_frames)) * FRAME_S, 2)

    def _close(self, now_s: float) -> list[Word]:
        """Complete the word in progress at `now_s`."""
        text, pieces = self.partial, self._pieces
        self._pieces = []
        if not text:
            return []
        end_s = max(now_s, round(self._start_s + FRAME_S, 2))
        self._newest_end_s = end_s + MAX_TAIL_S
        confidence = self._calibration.confidence([piece.probability for piece in pieces])
        self.words.append(Word(text, self._start_s, end_s, confidence, self._alternatives(text, pieces)))
        return self.words[-1:]

    def _alternatives(self, text: str, pieces: Sequence[_Piece]) -> tuple[Alternative, ...]:
        """The texts that result if the least certain token is replaced by another one. The tokens after it stay."""
        at = min(range(len(pieces)), key=lambda i: pieces[i].probability)
        tokens, probabilities = [piece.token for piece in pieces], [piece.probability for piece in pieces]
        found: dict[str, Alternative] = {}
        for token, probability in pieces[at].others:
            if token < FIRST_TEXT_ID or self._tokenizer.begins_word(token) != self._tokenizer.begins_word(tokens[at]):
                continue  # no word, or one more word
            other = self._tokenizer.decode([*tokens[:at], token, *tokens[at + 1 :]])
            confidence = self._calibration.confidence([*probabilities[:at], probability, *probabilities[at + 1 :]])
            if other and other != text and other not in found:
                found[other] = Alternative(other, confidence)
        return tuple(found.values())

    def _end_newest(self, next_s: float) -> None:
        """Extend the newest word to the start of the next."""
        if self.words:
            newest = self.words[-1]
            self.words[-1] = replace(newest, end=max(newest.end, round(min(next_s, self._newest_end_s), 2)))
