"""What is left of a recording: its text, its words, what was asked to be kept, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter
from typing import Any

from tympan.config import FRAME_S
from tympan.text.words import Word


class Trace(Enum):
    """What a stream keeps besides its words."""

    NONE = ""
    TOKENS = "1"
    LOGITS = "logits"


@dataclass
class Transcript:
    """What was heard. Times in seconds; codes, tokens and logits only where a trace was asked for."""

    text: str = ""
    words: list[Word] = field(default_factory=list)
    seconds: float = 0.0  # of audio
    frames: int = 0  # of audio, the last one filled up with silence
    timing: dict[str, float] = field(default_factory=dict)
    codes: list[list[int]] | None = None  # (T, K), the silence after the audio included
    tokens: list[int] | None = None  # one a step: step 0 reads the initial tokens, step s reads frame s - 1
    logits: list[list[float]] | None = None  # (steps, V)

    def to_json(self) -> dict[str, Any]:
        traces = {"codes": self.codes, "tokens": self.tokens, "logits": self.logits}
        return {
            "text": self.text,
            "words": [word.to_json() for word in self.words],
            "seconds": self.seconds,
            "frames": self.frames,
            "timing": self.timing,
            **{name: trace for name, trace in traces.items() if trace is not None},
        }


@dataclass
class Clock:
    """Where the time of a stream goes."""

    n_frames: int = 0
    mimi_s: float = 0.0
    lm_s: float = 0.0
    started_s: float = field(default_factory=perf_counter)

    def to_json(self, audio_s: float) -> dict[str, float]:
        """Mean milliseconds a frame, seconds in all, and seconds spent for a second of audio."""
        elapsed_s = perf_counter() - self.started_s
        return {
            "mimi_ms": round(self.mimi_s / max(self.n_frames, 1) * 1000, 2),
            "lm_ms": round(self.lm_s / max(self.n_frames, 1) * 1000, 2),
            "elapsed_s": round(elapsed_s, 3),
            "real_time_factor": round(elapsed_s / max(audio_s, FRAME_S), 3),
        }
