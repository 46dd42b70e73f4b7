"""THE MAIN PATH: sound -> frame -> codes -> token -> word.

A `Transcriber` is a model that is ready; a `Stream` is one recording going through it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.config import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.lm.backend import Backend, Step
from tympan.mimi.encoder import Mimi
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word, WordBuilder
from tympan.transcript import Clock, Trace, Transcript

MOST_TOGETHER = 8  # frames that Mimi encodes in one call, where they are there: more gain nothing
FLUSH_S = 0.24  # silence after the text delay that is always given to the model, for words that come a little late
LONGEST_FLUSH_S = 1.0  # and the most that it gets while it is still speaking


@dataclass(frozen=True)
class FrameResult:
    """What one more frame brought."""

    words: list[Word]  # new and complete
    frame: Float32  # (1920,)
    step: Step | None  # the newest whose result is known


class Transcriber:
    """A model that is ready: the Mimi encoder, the transformer on some backend, and the tokenizer."""

    def __init__(self, mimi: Mimi, lm: Backend, tokenizer: Tokenizer) -> None:
        self.mimi, self.lm, self.tokenizer = mimi, lm, tokenizer

    def stream(self, *, n_ahead: int = 0, trace: Trace = Trace.NONE) -> Stream:
        """Begin a recording. n_ahead: how many steps may run before the first one's word is waited for."""
        return Stream(self, n_ahead, trace)

    async def transcribe(self, pcm: Float32, *, trace: Trace = Trace.NONE) -> Transcript:
        """Transcribe a whole recording: float32 (n_samples,) in [-1, 1], mono at 24 kHz."""
        stream = self.stream(n_ahead=4, trace=trace)
        await stream.feed(pcm)
        return await stream.finish()


class Stream:
    """One recording on its way through the model."""

    def __init__(self, transcriber: Transcriber, n_ahead: int, trace: Trace) -> None:
        self._mimi, self._lm = transcriber.mimi, transcriber.lm
        self._tokenizer = transcriber.tokenizer
        self._mimi_state, self._lm_state = self._mimi.new_state(), self._lm.new_state()
        self._words = WordBuilder(self._lm.config, self._tokenizer)
        self._pending: deque[Awaitable[Step]] = deque()  # steps under way, oldest first
        self._newest: Step | None = None
        self._n_steps = 0  # since the rings were empty
        self._n_ahead, self._trace = n_ahead, trace
        self._rest = np.zeros(0, np.float32)  # samples that do not fill a frame yet
        self._n_samples = 0
        self._begun = False
        self._clock = Clock()
        self._tokens: list[int] = []
        self._codes: list[Int32] = []
        self._logits: list[Float32] = []

    @property
    def seconds(self) -> float:
        """How much audio has come in."""
        return self._n_samples / SAMPLE_RATE_HZ

    @property
    def context_s(self) -> float:
        """How much the model has heard since it knew nothing."""
        return self._n_steps * FRAME_S

    @property
    def partial(self) -> str:
        """The word that is being said, as far as it is known."""
        return self._words.partial

    @property
    def timing(self) -> dict[str, float]:
        """Where the time has gone so far, as in `Transcript.timing`."""
        return self._clock.to_json(self.seconds)

    async def feed(self, pcm: Float32) -> list[Word]:
        """Take the next samples, float32 (n,) in [-1, 1] at 24 kHz; return the words that they complete."""
        return [word async for said in self.steps(pcm) for word in said.words]

    async def steps(self, pcm: Float32) -> AsyncIterator[FrameResult]:
        """Take the next samples, as `feed` does; yield after every frame what it brought."""
        self._n_samples += len(pcm)
        samples = np.concatenate([self._rest, pcm])
        n_whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[n_whole:]
        for start in range(0, n_whole, MOST_TOGETHER * FRAME_SAMPLES):
            frames = samples[start : min(start + MOST_TOGETHER * FRAME_SAMPLES, n_whole)].reshape(-1, FRAME_SAMPLES)
            async for said in self._steps(frames):
                yield said

    async def flush(self) -> list[Word]:
        """Return the words that the text delay still holds back. The stream goes on as if no time had passed.

        The model hears silence for it, which is no part of the recording: to be called when nobody speaks.
        """
        words = await self._drain(n_ahead=0)
        delay_s = self._lm.config.delay_s
        for n in range(ceil((delay_s + LONGEST_FLUSH_S) / FRAME_S)):
            if n >= ceil((delay_s + FLUSH_S) / FRAME_S) and self._tokens[-1] == self._lm.config.padding_id:
                break
            self._words.skip()
            words += await self._silence() + await self._drain(n_ahead=0)
        return words

    async def restart(self) -> list[Word]:
        """Forget what the model has heard, after a `flush`; return the word that it was still saying, if any."""
        words = await self._drain(n_ahead=0) + self._words.restart(self.seconds - len(self._rest) / SAMPLE_RATE_HZ)
        self._mimi_state, self._lm_state = self._mimi.new_state(), self._lm.new_state()
        self._begun, self._n_steps = False, 0
        return words

    async def finish(self) -> Transcript:
        """The recording is over: bring the last word out."""
        if len(self._rest):
            await self._step(np.pad(self._rest, (0, FRAME_SAMPLES - len(self._rest))))
        await self.flush()
        self._words.finish(self.seconds)
        return self._transcript()

    async def _begin(self) -> None:
        """Step 0 reads the initial tokens; some models want silence before the first sound."""
        self._begun = True
        self._say(None)
        for _ in range(ceil(self._lm.config.silence_prefix_s / FRAME_S - 1e-6)):
            await self._silence()

    async def _silence(self) -> list[Word]:
        return await self._step(np.zeros(FRAME_SAMPLES, np.float32))

    async def _step(self, frame: Float32) -> list[Word]:
        """One 80 ms frame, float32 (1920,)."""
        return [word async for said in self._steps(frame[None]) for word in said.words]

    async def _steps(self, frames: Float32) -> AsyncIterator[FrameResult]:
        """Frames of 80 ms, float32 (T, 1920): through Mimi, then each through the transformer, to words."""
        if not self._begun:
            await self._begin()
        begun_s = perf_counter()
        frames_codes = self._mimi.encode(self._mimi_state, frames)
        self._clock.mimi_s += perf_counter() - begun_s
        for frame, codes in zip(frames, frames_codes, strict=True):
            begun_s = perf_counter()
            self._say(codes)
            words = await self._drain(self._n_ahead)
            self._clock.n_frames += 1
            self._clock.lm_s += perf_counter() - begun_s
            yield FrameResult(words, frame, self._newest)

    def _say(self, codes: Int32 | None) -> None:
        """Start the step of the transformer that reads `codes`."""
        step = self._lm.step(self._lm_state, codes, want_logits=self._trace is Trace.LOGITS)
        self._pending.append(step)
        self._n_steps += 1
        if codes is not None and self._trace is not Trace.NONE:
            self._codes.append(codes)

    async def _drain(self, n_ahead: int) -> list[Word]:
        """Await the oldest steps until `n_ahead` are left; return the words that they complete."""
        words: list[Word] = []
        while len(self._pending) > n_ahead:
            self._newest = step = await self._pending.popleft()
            self._tokens.append(step.token)
            if step.logits is not None:
                self._logits.append(step.logits)
            words += self._words.push(step.token)
        return words

    def _transcript(self) -> Transcript:
        traced = self._trace is not Trace.NONE
        return Transcript(
            text=self._tokenizer.decode(self._tokens),
            words=self._words.words,
            seconds=round(self.seconds, 3),
            frames=ceil(self._n_samples / FRAME_SAMPLES),
            timing=self._clock.to_json(self.seconds),
            codes=[codes.tolist() for codes in self._codes] if traced else None,
            tokens=self._tokens if traced else None,
            logits=[logits.tolist() for logits in self._logits] if self._trace is Trace.LOGITS else None,
        )
