"""Detects a model that is stuck: it repeats itself, or produces text without speech.

A new context ends both. Repetition is measured in text tokens, without padding and word boundaries: people repeat a
word or a digit too, but not as often as the limits below.
"""

from __future__ import annotations

from collections import deque
from math import ceil

from tympan.config import FIRST_TEXT_ID, FRAME_S, LMConfig
from tympan.lm.backend import Step

# Repetitions of a sequence of 1, 2, 3 or 4 tokens that are a loop. A number may have ten equal digits, and "ha ha" or
# "no, no" come in less than a dozen.
LOOP_REPEATS = {1: 14, 2: 9, 3: 7, 4: 6}
MAX_QUIET_S = 5.0  # without voice, beyond the text delay
MAX_QUIET_TOKENS = 8  # text tokens in that time


class StuckDetector:
    """Follows the tokens of one stream. The work per token is constant."""

    def __init__(self, config: LMConfig) -> None:
        self._max_quiet_frames = ceil((config.delay_s + MAX_QUIET_S) / FRAME_S)
        self._newest: Step | None = None
        self.reset()

    def reset(self) -> None:
        """The model has a new context."""
        self._tokens: deque[int] = deque(maxlen=max(LOOP_REPEATS) + 1)  # the last text tokens
        self._n_same = dict.fromkeys(LOOP_REPEATS, 0)  # how many tokens equal the one n before them, by n
        self._n_quiet_tokens = 0

    def push(self, step: Step | None, n_quiet: int) -> bool:
        """Add the newest result of the model; return whether the model is stuck.

        n_quiet: frames without voice so far.
        """
        if n_quiet <= self._max_quiet_frames:
            self._n_quiet_tokens = 0
        if step is None or step is self._newest or step.token < FIRST_TEXT_ID:
            self._newest = step
            return False
        self._newest = step
        self._n_quiet_tokens += n_quiet > self._max_quiet_frames
        self._tokens.append(step.token)
        is_loop = False
        for n, n_repeats in LOOP_REPEATS.items():
            is_same = len(self._tokens) > n and self._tokens[-1 - n] == step.token
            self._n_same[n] = self._n_same[n] + 1 if is_same else 0
            is_loop |= self._n_same[n] >= n * (n_repeats - 1)
        return is_loop or self._n_quiet_tokens >= MAX_QUIET_TOKENS
