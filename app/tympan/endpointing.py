"""Endpointing: detects when a turn of speech starts, pauses and ends.

A turn ends after a silence of `silence_s`. Where the model has pause heads, they must agree, because either alone is
wrong too often: the heads respond between the digits of a number and in the first second, and energy says nothing about
whether a sentence is complete. A silence of LONG_SILENCE_S ends a turn in any case.

Guarantees, for every stream of frames and results:

- Turns do not overlap: SPEECH and END alternate, and the first of them is SPEECH. `finish` ends the last turn.
- PAUSE and MUTE occur only within a turn.
- A turn without pause heads ends after `silence_s` without voice, and at most MAX_DELAY_S later.

Source: kyutai-labs/delayed-streams-modeling@f6074cb stt_from_mic_rust_server.py (head 2, threshold).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil, log10

import numpy as np

from tympan.arrays import Float32
from tympan.config import FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.lm.backend import Step
from tympan.protocol import SILENCE_S

PAUSE_HEAD = 2  # index among the heads for pauses of 0.5, 1, 2 and 3 s
PAUSE_PROBABILITY = 0.5
START_FRAMES = 12  # of a recording, in which the heads' output is meaningless

VOICE_FRAMES = 2  # consecutive frames with voice that start a turn; fewer are a click
PAUSE_FRAMES = 4  # quiet frames that make a pause, in which pending words are flushed: 320 ms
LONG_SILENCE_S = 3.0  # ends a turn even if the heads do not
MAX_DELAY_S = 0.08  # of an END without heads, after the silence
TEXT_FRAMES = 6  # text that comes later than this after the text delay is speech too quiet for the VAD
MUTE_FRAMES = 125  # frames with voice but without a word that are reported: 10 s

MARGIN_DB = 12.0  # minimum level of voice above the noise floor
MIN_VOICE_DB = -55.0  # minimum level of voice, relative to a full-scale square wave
MIN_FLOOR_DB = -70.0  # a lower level means that the microphone is switched off
FLOOR_RISE_DB = 3.0 * FRAME_S  # maximum rise of the noise floor per frame; it falls at once
MAX_INITIAL_FLOOR_DB = -50.0  # a recording may start with voice
MAX_FLOOR_DB = -30.0


class TurnKind(Enum):
    """An event of endpointing. A turn starts with SPEECH and ends with END; only SPEECH follows END."""

    SPEECH = "speech"  # speech started
    PAUSE = "pause"  # speech paused, possibly only for a breath
    END = "end"  # the turn ended
    MUTE = "mute"  # MUTE_FRAMES with voice, without a word from the model
    STUCK = "stuck"  # the model repeated itself, or wrote without speech; its context was reset


@dataclass(frozen=True)
class Turn:
    """An event and when it was detected, in seconds of audio."""

    kind: TurnKind
    seconds: float


class EnergyVAD:
    """Voice activity detection by level relative to an adaptive noise floor."""

    def __init__(self) -> None:
        self._floor_db = MAX_INITIAL_FLOOR_DB

    def __call__(self, frame: Float32) -> bool:
        """Whether the next frame, float32 (1920,) in [-1, 1], contains voice."""
        level_db = 10 * log10(float(np.dot(frame, frame)) / len(frame) + 1e-10)
        floor_db = min(level_db, self._floor_db + FLOOR_RISE_DB, MAX_FLOOR_DB)
        self._floor_db = max(floor_db, MIN_FLOOR_DB)
        return level_db > max(self._floor_db + MARGIN_DB, MIN_VOICE_DB)


class TurnDetector:
    """Detects the turns of one stream, frame by frame. The work per frame is constant."""

    def __init__(self, config: LMConfig, silence_s: float = SILENCE_S) -> None:
        """silence_s: the silence that ends a turn, at least that of a pause."""
        self._has_heads = config.n_extra_heads > PAUSE_HEAD
        self._silent_ids = (WORD_BOUNDARY_ID, config.padding_id)
        self._n_late = ceil(config.delay_s / FRAME_S) + TEXT_FRAMES  # frames by which text may lag its voice
        self._n_end = max(PAUSE_FRAMES + 1, ceil(silence_s / FRAME_S - 1e-6))
        self._n_long = max(self._n_end, ceil(LONG_SILENCE_S / FRAME_S))
        self._has_voice = EnergyVAD()
        self._n_frames = 0
        self._n_voice = 0  # consecutive frames with voice
        self.n_quiet = 0  # frames since the last voice
        self._n_silent = 0  # frames since the last voice, or since text that only quiet speech explains
        self._n_mute = 0  # frames with voice since the last text
        self._is_speaking = False
        self._may_start = False  # there has been voice since the last turn
        self.has_pending_words = False  # there has been voice or text since the last flush

    def push(self, frame: Float32, step: Step | None) -> list[TurnKind]:
        """Process the next frame, float32 (1920,), and the newest result of the model; return the events."""
        self._n_frames += 1
        self._update_voice(frame)
        has_text = step is not None and step.token not in self._silent_ids
        if has_text:
            self._update_text()
        return [*self._detect_start(has_text), *self._detect_pause(), *self._detect_end(step), *self._detect_mute()]

    def flushed(self, has_words: bool) -> None:
        """Note that the stream was flushed. has_words: whether that completed any words."""
        self.has_pending_words = False
        if has_words:
            self._n_mute = 0

    def finish(self) -> list[TurnKind]:
        """The recording has ended: return the END of the last turn, unless it has ended before."""
        ended = [TurnKind.END] if self._is_speaking else []
        self._is_speaking = False
        return ended

    def _update_voice(self, frame: Float32) -> None:
        has_voice = self._has_voice(frame)
        self._n_voice = self._n_voice + 1 if has_voice else 0
        self.n_quiet = 0 if has_voice else self.n_quiet + 1
        self._n_silent = 0 if has_voice else self._n_silent + 1
        self._n_mute += has_voice
        self._may_start |= has_voice
        self.has_pending_words |= has_voice

    def _update_text(self) -> None:
        self._n_mute = 0
        self.has_pending_words = True
        if self.n_quiet > self._n_late:
            self._n_silent = 0
            self._may_start = True

    def _detect_start(self, has_text: bool) -> list[TurnKind]:
        """A turn starts with voice that is not a click, or with text that no earlier turn explains."""
        if self._is_speaking or not (self._n_voice >= VOICE_FRAMES or (has_text and self._may_start)):
            return []
        self._is_speaking, self._n_silent = True, 0
        return [TurnKind.SPEECH]

    def _detect_pause(self) -> list[TurnKind]:
        return [TurnKind.PAUSE] if self._is_speaking and self._n_silent == PAUSE_FRAMES else []

    def _detect_end(self, step: Step | None) -> list[TurnKind]:
        is_silent = self._n_silent >= self._n_end and (not self._has_heads or self._heads_detect_end(step))
        if not self._is_speaking or not (is_silent or self._n_silent >= self._n_long):
            return []
        self._is_speaking = self._may_start = False
        return [TurnKind.END]

    def _heads_detect_end(self, step: Step | None) -> bool:
        if self._n_frames <= START_FRAMES or step is None or step.extra_heads is None:
            return False
        return bool(step.extra_heads[PAUSE_HEAD, 0] > PAUSE_PROBABILITY)

    def _detect_mute(self) -> list[TurnKind]:
        if self._n_mute < MUTE_FRAMES or not self._is_speaking:
            return []
        self._n_mute = 0
        return [TurnKind.MUTE]
