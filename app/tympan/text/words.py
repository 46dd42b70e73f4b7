"""Text tokens, one per step -> words with times.

The model emits token 0 one step before a word starts, then the word's pieces, then padding. All of these lag the audio
by the text delay, which the model has learned; the times are corrected for it.
Source: kyutai-labs/moshi@e6a55d2 rust/moshi-core/src/asr.rs (the times of the Rust server, on the 80 ms grid).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from math import ceil, floor

from tympan.config import FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.text.tokenizer import Tokenizer

MAX_TAIL_S = 1.0  # the model does not mark where a word ends: at the next word, or this long after the last piece


@dataclass(frozen=True)
class Word:
    """A word and its time, in seconds from the start of the audio."""

    text: str
    start: float
    end: float

    def to_json(self) -> dict[str, str | float]:
        return asdict(self)


class WordBuilder:
    """Builds the words of one stream. The work per token does not depend on the number of words so far.

    words: all completed words. The end of the newest is an estimate until the next word starts.
    """

    def __init__(self, config: LMConfig, tokenizer: Tokenizer) -> None:
        self.words: list[Word] = []
        self._padding_id, self._tokenizer = config.padding_id, tokenizer
        self._n_prefix_steps = ceil(config.silence_prefix_s / FRAME_S - 1e-6)
        self._n_late_steps = floor(config.delay_s / FRAME_S + 1e-6) + self._n_prefix_steps
        self._n_steps = 0  # since the start or the last reset
        self._reset_s = 0.0  # the time of the last reset
        self._skipped: list[int] = []  # frames since then that are excluded from the audio time
        self._boundary_s: float | None = None  # the time of a boundary token that no word has followed yet
        self._pieces: list[int] = []  # of the word in progress
        self._start_s = 0.0  # of the word in progress
        self._newest_end_s = 0.0  # the latest possible end of the newest word

    @property
    def partial(self) -> str:
        """The text so far of the word in progress."""
        return self._tokenizer.decode(self._pieces)

    def push(self, token: int) -> list[Word]:
        """Add the token of the next step, starting with step 0; return the words that it completes, at most one."""
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
        self._pieces.append(token)
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
        text, self._pieces = self.partial, []
        if not text:
            return []
        end_s = max(now_s, round(self._start_s + FRAME_S, 2))
        self._newest_end_s = end_s + MAX_TAIL_S
        self.words.append(Word(text, self._start_s, end_s))
        return self.words[-1:]

    def _end_newest(self, next_s: float) -> None:
        """Extend the newest word to the start of the next."""
        if self.words:
            newest = self.words[-1]
            self.words[-1] = replace(newest, end=max(newest.end, round(min(next_s, self._newest_end_s), 2)))
