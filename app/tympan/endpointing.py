"""Who is speaking, and who has finished: turns, from the model's pause heads where it has them, else from energy.

The heads look ahead of the text by the text delay: whoever acts on the end of a turn flushes the stream first.
Source: kyutai-labs/delayed-streams-modeling@f6074cb stt_from_mic_rust_server.py (head 2, threshold, re-arming).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from tympan.arrays import Float32
from tympan.config import FRAME_S, WORD_BOUNDARY_ID, LMConfig
from tympan.lm.backend import Step

PAUSE_HEAD = 2  # of the heads for pauses of 0.5, 1, 2 and 3 s
PAUSE_PROBABILITY = 0.5
START_FRAMES = 12  # in which the heads know nothing yet

VOICE_FRAMES = 2  # of voice that are no click
PAUSE_FRAMES = 4  # of quiet after which the words that are still under way are wanted: 320 ms
END_FRAMES = 12  # of quiet that end a turn, where the model has no heads: 960 ms
LATEST_END_FRAMES = 38  # and where its heads say nothing: 3 s
TEXT_FRAMES = 6  # without text, in which a turn may end
MUTE_FRAMES = 125  # of voice without a word that are too many: 10 s

MARGIN_DB = 12.0  # how far a voice is above the noise
QUIETEST_VOICE_DB = -55.0  # relative to a full-scale square wave
LOWEST_FLOOR_DB = -70.0  # less is no room's noise, but a microphone that is off
FLOOR_RISE_DB = 3.0 * FRAME_S  # a frame; it falls at once
HIGHEST_FIRST_FLOOR_DB = -50.0  # a recording may begin with a voice
HIGHEST_FLOOR_DB = -30.0


class TurnKind(Enum):
    """What changed. A turn begins with SPEECH and ends with END, which nothing but SPEECH follows."""

    SPEECH = "speech"  # somebody speaks
    PAUSE = "pause"  # and has stopped, perhaps for a breath
    END = "end"  # and has finished
    MUTE = "mute"  # somebody has spoken for long, and the model has said no word


@dataclass(frozen=True)
class Turn:
    """seconds: of audio, when it was noticed."""

    kind: TurnKind
    seconds: float


class EnergyVAD:
    """Tells a voice from a room by how loud it is, over a noise floor that it learns."""

    def __init__(self) -> None:
        self._floor_db = HIGHEST_FIRST_FLOOR_DB

    def __call__(self, frame: Float32) -> bool:
        """Whether there is a voice in the next frame, float32 (1920,) in [-1, 1]."""
        level_db = 10 * np.log10(np.square(frame).mean() + 1e-10)
        floor_db = min(level_db, self._floor_db + FLOOR_RISE_DB, HIGHEST_FLOOR_DB)
        self._floor_db = max(floor_db, LOWEST_FLOOR_DB)
        return bool(level_db > max(self._floor_db + MARGIN_DB, QUIETEST_VOICE_DB))


class TurnDetector:
    """Follows one stream, frame by frame."""

    def __init__(self, config: LMConfig) -> None:
        self._has_heads = config.n_extra_heads > PAUSE_HEAD
        self._silent_ids = (WORD_BOUNDARY_ID, config.padding_id)
        self._hears_voice = EnergyVAD()
        self._n_frames = 0
        self._n_voice = 0  # frames of voice without a break
        self._n_quiet = 0  # frames since the last voice
        self._n_without_text = 0  # frames since the last text; it comes late by the text delay
        self._n_mute = 0  # frames of voice since the last text
        self._is_speaking = False
        self._is_armed = False  # a word has come since the heads ended a turn
        self.owes_words = False  # there was a voice since the words under way were fetched

    def push(self, frame: Float32, step: Step | None) -> list[TurnKind]:
        """Take the next frame, float32 (1920,), and what the model said last; return what changed."""
        self._n_frames += 1
        self._listen(frame)
        self._read(step)
        return [*self._begin(), *self._pause(), *self._end(step), *self._watch()]

    def flushed(self, has_words: bool) -> None:
        """The words under way were fetched; whether there were any."""
        self.owes_words = False
        if has_words:
            self._n_mute = 0

    def _listen(self, frame: Float32) -> None:
        has_voice = self._hears_voice(frame)
        self._n_voice = self._n_voice + 1 if has_voice else 0
        self._n_quiet = 0 if has_voice else self._n_quiet + 1
        self._n_mute += has_voice
        self.owes_words |= has_voice

    def _read(self, step: Step | None) -> None:
        self._n_without_text += 1
        if step is not None and step.token not in self._silent_ids:
            self._n_without_text = self._n_mute = 0
            self._is_armed = self.owes_words = True

    def _begin(self) -> list[TurnKind]:
        """A voice that is no click, or one that only the model has heard."""
        if self._is_speaking or (self._n_voice < VOICE_FRAMES and self._n_without_text):
            return []
        self._is_speaking = True
        return [TurnKind.SPEECH]

    def _pause(self) -> list[TurnKind]:
        if not self._is_speaking or self._has_heads or self._n_quiet != PAUSE_FRAMES:
            return []
        return [TurnKind.PAUSE]

    def _end(self, step: Step | None) -> list[TurnKind]:
        if not self._is_speaking or not (self._heads_say_end(step) or self._is_quiet()):
            return []
        self._is_speaking = self._is_armed = False
        return [TurnKind.END]

    def _heads_say_end(self, step: Step | None) -> bool:
        if not self._is_armed or self._n_frames <= START_FRAMES or step is None or step.extra_heads is None:
            return False
        return self._has_heads and bool(step.extra_heads[PAUSE_HEAD, 0] > PAUSE_PROBABILITY)

    def _is_quiet(self) -> bool:
        n_enough = LATEST_END_FRAMES if self._has_heads else END_FRAMES
        return self._n_quiet >= n_enough and self._n_without_text >= TEXT_FRAMES

    def _watch(self) -> list[TurnKind]:
        if self._n_mute < MUTE_FRAMES:
            return []
        self._n_mute = 0
        return [TurnKind.MUTE]
