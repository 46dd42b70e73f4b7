"""Endpointing: detects when a turn of speech starts, pauses and ends.

Uses the model's pause heads if it has them, else the energy of the audio. The heads run ahead of the text by the text
delay, so flush the stream before acting on the end of a turn.
Source: kyutai-labs/delayed-streams-modeling@f6074cb stt_from_mic_rust_server.py (head 2, threshold, re-arming).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from tympan.arrays import Float32
from tympan.config import FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.lm.backend import Step

PAUSE_HEAD = 2  # index among the heads for pauses of 0.5, 1, 2 and 3 s
PAUSE_PROBABILITY = 0.5
START_FRAMES = 12  # of a recording, in which the heads' output is meaningless

VOICE_FRAMES = 2  # consecutive frames with voice that start a turn; fewer are a click
PAUSE_FRAMES = 4  # quiet frames that make a pause, in which pending words are flushed: 320 ms
END_FRAMES = 12  # quiet frames that end a turn if the model has no heads: 960 ms
MAX_END_FRAMES = 38  # quiet frames that end a turn even if the heads do not: 3 s
TEXT_FRAMES = 6  # frames without text before quiet can end a turn
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
        level_db = 10 * np.log10(np.square(frame).mean() + 1e-10)
        floor_db = min(level_db, self._floor_db + FLOOR_RISE_DB, MAX_FLOOR_DB)
        self._floor_db = max(floor_db, MIN_FLOOR_DB)
        return bool(level_db > max(self._floor_db + MARGIN_DB, MIN_VOICE_DB))


class TurnDetector:
    """Detects the turns of one stream, frame by frame. The work per frame is constant."""

    def __init__(self, config: LMConfig) -> None:
        self._has_heads = config.n_extra_heads > PAUSE_HEAD
        self._silent_ids = (WORD_BOUNDARY_ID, config.padding_id)
        self._has_voice = EnergyVAD()
        self._n_frames = 0
        self._n_voice = 0  # consecutive frames with voice
        self._n_quiet = 0  # frames since the last voice
        self._n_without_text = 0  # frames since the last text, which lags by the text delay
        self._n_mute = 0  # frames with voice since the last text
        self._is_speaking = False
        self._is_armed = False  # there has been text since the heads last ended a turn
        self.has_pending_words = False  # there has been voice or text since the last flush

    def push(self, frame: Float32, step: Step | None) -> list[TurnKind]:
        """Process the next frame, float32 (1920,), and the newest result of the model; return the events."""
        self._n_frames += 1
        self._update_voice(frame)
        self._update_text(step)
        return [*self._detect_start(), *self._detect_pause(), *self._detect_end(step), *self._detect_mute()]

    def flushed(self, has_words: bool) -> None:
        """Note that the stream was flushed. has_words: whether that completed any words."""
        self.has_pending_words = False
        if has_words:
            self._n_mute = 0

    def _update_voice(self, frame: Float32) -> None:
        has_voice = self._has_voice(frame)
        self._n_voice = self._n_voice + 1 if has_voice else 0
        self._n_quiet = 0 if has_voice else self._n_quiet + 1
        self._n_mute += has_voice
        self.has_pending_words |= has_voice

    def _update_text(self, step: Step | None) -> None:
        self._n_without_text += 1
        if step is not None and step.token not in self._silent_ids:
            self._n_without_text = self._n_mute = 0
            self._is_armed = self.has_pending_words = True

    def _detect_start(self) -> list[TurnKind]:
        """A turn starts with voice that is not a click, or with text."""
        if self._is_speaking or (self._n_voice < VOICE_FRAMES and self._n_without_text):
            return []
        self._is_speaking = True
        return [TurnKind.SPEECH]

    def _detect_pause(self) -> list[TurnKind]:
        if not self._is_speaking or self._has_heads or self._n_quiet != PAUSE_FRAMES:
            return []
        return [TurnKind.PAUSE]

    def _detect_end(self, step: Step | None) -> list[TurnKind]:
        if not self._is_speaking or not (self._heads_detect_end(step) or self._is_quiet()):
            return []
        self._is_speaking = self._is_armed = False
        return [TurnKind.END]

    def _heads_detect_end(self, step: Step | None) -> bool:
        if not self._is_armed or self._n_frames <= START_FRAMES or step is None or step.extra_heads is None:
            return False
        return self._has_heads and bool(step.extra_heads[PAUSE_HEAD, 0] > PAUSE_PROBABILITY)

    def _is_quiet(self) -> bool:
        n_required = MAX_END_FRAMES if self._has_heads else END_FRAMES
        return self._n_quiet >= n_required and self._n_without_text >= TEXT_FRAMES

    def _detect_mute(self) -> list[TurnKind]:
        if self._n_mute < MUTE_FRAMES:
            return []
        self._n_mute = 0
        return [TurnKind.MUTE]
