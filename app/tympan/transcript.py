"""The result of a transcription: text, words, optional traces, and timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter
from typing import Any

from tympan.arrays import Float32, Int32
from tympan.config import FRAME_S
from tympan.lm.backend import Step
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word


class Trace(Enum):
    """What a stream records besides words. The values are those of the page's `?trace=`."""

    NONE = ""
    TOKENS = "1"  # codes and tokens
    LOGITS = "logits"  # and logits
    DIRECT = "direct"  # codes and tokens; as in Kyutai's script, step s reads frame s, and frame 0 is not read


@dataclass
class Transcript:
    """The result of a recording. Times are in seconds; codes, tokens and logits are None unless traced."""

    text: str = ""
    words: list[Word] = field(default_factory=list)
    seconds: float = 0.0  # duration of the audio
    frames: int = 0  # of audio, the last one padded with silence
    timing: Mapping[str, float] = field(default_factory=dict)  # as `Clock.to_json`
    stuck: list[float] = field(default_factory=list)  # times at which the context was reset, see `tympan.stuck`
    codes: list[list[int]] | None = None  # (T, K), including the silence that flushes the text delay
    tokens: list[int] | None = None  # one per step: step 0 reads the initial tokens, step s frame s - 1 (see DIRECT)
    logits: list[list[float]] | None = None  # (steps, V)

    def to_json(self) -> dict[str, Any]:
        """The transcript as JSON values, without the traces that were not recorded."""
        traces = {"codes": self.codes, "tokens": self.tokens, "logits": self.logits}
        return {
            "text": self.text,
            "words": [word.to_json() for word in self.words],
            "seconds": self.seconds,
            "frames": self.frames,
            "timing": self.timing,
            "stuck": self.stuck,
            **{name: trace for name, trace in traces.items() if trace is not None},
        }


class StepRecorder:
    """Collects the tokens of a stream, and its codes and logits if they are traced."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.tokens: list[int] = []
        self._codes: list[Int32] = []
        self._logits: list[Float32] = []

    def add_codes(self, codes: Int32) -> None:
        """Record the codes of a frame, int32 (K,)."""
        if self.trace is not Trace.NONE:
            self._codes.append(codes)

    def add_result(self, step: Step) -> None:
        """Record the result of a step and the codes that it read."""
        if step.codes is not None:
            self.add_codes(step.codes)
        self.tokens.append(step.token)
        if step.logits is not None:
            self._logits.append(step.logits)

    def transcript(
        self, tokenizer: Tokenizer, words: list[Word], *, seconds: float, frames: int, timing: Mapping[str, float]
    ) -> Transcript:
        """The transcript of all steps so far."""
        traced = self.trace is not Trace.NONE
        return Transcript(
            text=tokenizer.decode(self.tokens),
            words=words,
            seconds=round(seconds, 3),
            frames=frames,
            timing=timing,
            codes=[codes.tolist() for codes in self._codes] if traced else None,
            tokens=self.tokens if traced else None,
            logits=[logits.tolist() for logits in self._logits] if self.trace is Trace.LOGITS else None,
        )


@dataclass
class Clock:
    """Accumulates the time that each stage of a stream takes."""

    n_frames: int = 0
    mimi_s: float = 0.0
    lm_s: float = 0.0
    started_s: float = field(default_factory=perf_counter)

    def to_json(self, audio_s: float) -> dict[str, float]:
        """Mean milliseconds per frame of each stage, elapsed seconds, and elapsed seconds per second of audio.

        Where both stages run on one GPU, `lm_ms` includes Mimi's work there.
        """
        elapsed_s = perf_counter() - self.started_s
        return {
            "mimi_ms": round(self.mimi_s / max(self.n_frames, 1) * 1000, 2),
            "lm_ms": round(self.lm_s / max(self.n_frames, 1) * 1000, 2),
            "elapsed_s": round(elapsed_s, 3),
            "real_time_factor": round(elapsed_s / max(audio_s, FRAME_S), 3),
        }
