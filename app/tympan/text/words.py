"""From text tokens, one a step, to words with times.

The model says 0 one step before a word begins, then the word's pieces, then padding. Both arrive late by the text
delay, which it has learnt, so the delay is taken off the times.
Source: kyutai-labs/moshi@e6a55d2 rust/moshi-core/src/asr.rs (the times of the Rust server, on the 80 ms grid).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from math import ceil, floor

from tympan.config import FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.text.tokenizer import Tokenizer

LONGEST_TAIL_S = 1.0  # the model does not say where a word ends: at the next one, or this long after its last piece


@dataclass(frozen=True)
class Word:
    """A word and when it was spoken, in seconds from the start of the audio."""

    text: str
    start: float
    end: float

    def to_json(self) -> dict[str, str | float]:
        return asdict(self)


class WordBuilder:
    """Collects the tokens of one stream into words.

    words: all words so far. The end of the newest is a guess until the next one begins.
    """

    def __init__(self, config: LMConfig, tokenizer: Tokenizer) -> None:
        self.words: list[Word] = []
        self._padding_id, self._tokenizer = config.padding_id, tokenizer
        self._n_prefix_steps = ceil(config.silence_prefix_s / FRAME_S - 1e-6)
        self._n_late_steps = floor(config.delay_s / FRAME_S + 1e-6) + self._n_prefix_steps
        self._n_steps = 0  # since the model began, or began anew
        self._begun_s = 0.0  # when that was
        self._skipped: list[int] = []  # frames since then in which no time passed
        self._boundary_s: float | None = None  # the time of a 0 that no word has taken yet
        self._pieces: list[int] = []  # of the word that is being said
        self._start_s = 0.0  # of that word
        self._newest_end_s = 0.0  # how far the newest complete word may reach

    @property
    def partial(self) -> str:
        """The text of the word that is being said, as far as it is known."""
        return self._tokenizer.decode(self._pieces)

    def push(self, token: int) -> list[Word]:
        """Take the token of the next step (the first is step 0); return the words that it completes, at most one."""
        self._n_steps += 1
        now_s = self._seconds(self._n_steps)
        if token == WORD_BOUNDARY_ID:
            closed = self._close(now_s)
            self._end_newest(now_s)
            self._boundary_s = now_s
            return closed
        if token == self._padding_id:
            return self._close(now_s)
        unmarked_s = self._seconds(self._n_steps - 1)  # where a 0 would have stood: a step before the first piece
        closed = self._close(unmarked_s) if self._tokenizer.begins_word(token) else []
        if not self._pieces:
            self._start_s = unmarked_s if self._boundary_s is None else self._boundary_s
            self._boundary_s = None
            self._end_newest(self._start_s)
        self._pieces.append(token)
        return closed

    def skip(self) -> None:
        """The frame that the next step reads is put in between: no time passes in it."""
        self._skipped.append(self._n_steps - 1 - self._n_prefix_steps)

    def restart(self, now_s: float) -> list[Word]:
        """The model begins anew at `now_s`: return the word that was being said, if any. The next step is step 0."""
        closed = self.finish(now_s)
        self._n_steps, self._begun_s, self._boundary_s = 0, now_s, None
        self._skipped.clear()
        return closed

    def finish(self, end_s: float) -> list[Word]:
        """The audio ends at `end_s` seconds: return the last word, if one was being said."""
        closed = self._close(end_s)
        self._end_newest(end_s)
        return closed

    def _seconds(self, n_steps: int) -> float:
        """When what the model says in this step was spoken; `n_steps` counts it."""
        n_frames = max(0, n_steps - self._n_late_steps)
        return round(self._begun_s + (n_frames - bisect_left(self._skipped, n_frames)) * FRAME_S, 2)

    def _close(self, now_s: float) -> list[Word]:
        """Complete the word that is being said, up to now."""
        text, self._pieces = self.partial, []
        if not text:
            return []
        end_s = max(now_s, round(self._start_s + FRAME_S, 2))
        self._newest_end_s = end_s + LONGEST_TAIL_S
        self.words.append(Word(text, self._start_s, end_s))
        return self.words[-1:]

    def _end_newest(self, next_s: float) -> None:
        """Stretch the newest word to where the next begins."""
        if self.words:
            newest = self.words[-1]
            self.words[-1] = replace(newest, end=max(newest.end, round(min(next_s, self._newest_end_s), 2)))
