"""The main path: audio samples -> 80 ms frames -> Mimi codes -> text tokens -> words.

A `Transcriber` is a loaded model; a `Stream` is one recording being transcribed by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np

from tympan.arrays import Float32
from tympan.codes import Codes, readable
from tympan.confidence import Calibration
from tympan.config import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.lm.backend import Backend, Step
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.mimi.backend import Encoder
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabulary import Term, Terms, read_terms, spellings
from tympan.text.words import Word, WordBuilder
from tympan.transcript import Clock, StepRecorder, Trace, Transcript

FLUSH_S = 0.24  # minimum silence after the text delay, for words that come slightly late
MAX_FLUSH_S = 1.0  # maximum silence after the text delay, while the model still produces text


@dataclass(frozen=True)
class FrameResult:
    """The result of one frame."""

    words: list[Word]  # words completed by it
    frame: Float32  # (1920,), the frame itself
    step: Step | None  # the newest step whose result is known


class Transcriber:
    """A loaded model: the Mimi encoder, the transformer on a backend, and the tokenizer."""

    def __init__(
        self, mimi: Encoder, lm: Backend, tokenizer: Tokenizer, calibration: Calibration | None = None
    ) -> None:
        """calibration: of confidences; None for the default."""
        self.mimi, self.lm, self.tokenizer = mimi, lm, tokenizer
        self.calibration = calibration or Calibration()
        self._vocabulary: tuple[tuple[Term, ...], TermTrie] = (), NO_TERMS

    def stream(self, *, n_ahead: int = 0, trace: Trace = Trace.NONE, terms: Terms = ()) -> Stream:
        """Start a recording.

        n_ahead: how many transformer steps may run before the oldest result is awaited. terms: a vocabulary that the
        recording may contain, as `text.vocabulary.read_terms` takes it; raises TooManyTerms.
        """
        return Stream(self, n_ahead, trace, self._trie(read_terms(terms)))

    def _trie(self, terms: tuple[Term, ...]) -> TermTrie:
        """The trie of a vocabulary. The newest one is kept for the next recording."""
        if self._vocabulary[0] != terms:
            self._vocabulary = terms, TermTrie.build(spellings(terms, self.tokenizer))
        return self._vocabulary[1]

    async def transcribe(self, pcm: Float32, *, trace: Trace = Trace.NONE, terms: Terms = ()) -> Transcript:
        """Transcribe a whole recording: float32 (n_samples,) in [-1, 1], mono, 24 kHz. terms: as of `stream`."""
        stream = self.stream(n_ahead=4, trace=trace, terms=terms)
        await stream.feed(pcm)
        return await stream.finish()

    def close(self) -> None:
        """Free the device memory. The model cannot be used afterwards."""
        self.lm.close()
        self.mimi.close()


class Stream:
    """The state of one recording."""

    def __init__(self, transcriber: Transcriber, n_ahead: int, trace: Trace, terms: TermTrie) -> None:
        self._mimi, self._lm, self._tokenizer = transcriber.mimi, transcriber.lm, transcriber.tokenizer
        self._n_ahead, self._terms = n_ahead, terms
        self._mimi_state, self._lm_state = self._mimi.new_state(), self._lm.new_state(terms=terms)
        self._words = WordBuilder(self._lm.config, self._tokenizer, transcriber.calibration)
        self._recorder, self._clock = StepRecorder(trace), Clock()
        self._samples = np.zeros(0, np.float32)  # less than a frame
        self._n_samples = 0
        self._pending: deque[Awaitable[Step]] = deque()  # started steps, oldest first
        self._newest: Step | None = None
        self._n_steps = 0  # since the start or the last reset: 0 before step 0
        self._n_unread = 1 if trace is Trace.DIRECT else 0  # the next frames that the transformer does not read

    async def steps(self, pcm: Float32) -> AsyncIterator[FrameResult]:
        """Transcribe the next samples, float32 (n,) in [-1, 1] at 24 kHz; yield a result after each complete frame."""
        self._n_samples += len(pcm)
        samples = np.concatenate([self._samples, pcm])
        n_whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._samples = samples[n_whole:]
        for batch in _batches(samples[:n_whole].reshape(-1, FRAME_SAMPLES), self._mimi.max_frames):
            async for result in self._transcribe(batch):
                yield result

    async def _transcribe(self, frames: Float32) -> AsyncIterator[FrameResult]:
        """Frames, float32 (T, 1920) -> codes -> one transformer step each -> words.

        On one GPU, the steps start before the codes are known, unless the GPU is lost meanwhile.
        """
        if self._n_steps == 0:
            await self._start_context()
        started_s = perf_counter()
        encoded = self._mimi.start(self._mimi_state, frames)
        codes = await (encoded if self._n_unread else readable(encoded, self._lm.code_reader))
        self._clock.mimi_s += perf_counter() - started_s
        n_together = self._n_together
        for start in range(0, len(frames), n_together):
            started_s = perf_counter()
            group = frames[start : start + n_together]
            self._start_steps(await readable(codes[start : start + n_together], self._lm.code_reader))
            for n_left, frame in zip(reversed(range(len(group))), group, strict=True):
                words = await self._await_steps(self._n_ahead + n_left)
                self._clock.n_frames += 1
                self._clock.lm_s += perf_counter() - started_s
                yield FrameResult(words, frame, self._newest)
                started_s = perf_counter()

    @property
    def _n_together(self) -> int:
        """How many transformer steps to start at once: several for a file, one for live audio or logits."""
        return self._lm.max_steps if self._n_ahead and self._recorder.trace is not Trace.LOGITS else 1

    def _start_steps(self, codes: Codes) -> None:
        """Start the transformer steps that read `codes`, (n, K)."""
        while self._n_unread and len(codes):
            assert isinstance(codes, np.ndarray), "they were awaited"
            self._recorder.add_codes(codes[0])
            self._n_unread, codes = self._n_unread - 1, codes[1:]
        if len(codes) < 2:
            for frame in codes:
                self._start_step(frame)
            return
        self._pending.extend(self._lm.steps(self._lm_state, codes))
        self._n_steps += len(codes)

    def _start_step(self, codes: Codes | None) -> None:
        """Start the transformer step that reads `codes`, or the initial tokens if None."""
        want_logits = self._recorder.trace is Trace.LOGITS
        self._pending.append(self._lm.step(self._lm_state, codes, want_logits=want_logits))
        self._n_steps += 1

    async def _await_steps(self, max_pending: int) -> list[Word]:
        """Await the oldest steps until `max_pending` are left; return the words that they complete."""
        words: list[Word] = []
        while len(self._pending) > max_pending:
            self._newest = step = await self._pending.popleft()
            self._recorder.add_result(step)
            words += self._words.push(step.token, step.probability, step.others)
        return words

    async def feed(self, pcm: Float32) -> list[Word]:
        """Transcribe the next samples, as `steps` does; return the words that they complete."""
        return [word async for result in self.steps(pcm) for word in result.words]

    async def flush(self) -> list[Word]:
        """Return the words that the text delay still holds back.

        Feeds silence to the model that is excluded from the audio time, so the times of later words are unaffected.
        Call it in a pause of speech.
        """
        words = await self._await_steps(0)
        delay_s = self._lm.config.delay_s
        for n in range(ceil((delay_s + MAX_FLUSH_S) / FRAME_S)):
            if n >= ceil((delay_s + FLUSH_S) / FRAME_S) and self._recorder.tokens[-1] == self._lm.config.padding_id:
                break
            self._words.skip_frame()
            words += await self._feed_silence() + await self._await_steps(0)
        return words

    async def reset_context(self) -> list[Word]:
        """Start the model with an empty context; return the word in progress, if any. Call `flush` first."""
        now_s = self.seconds - len(self._samples) / SAMPLE_RATE_HZ
        words = await self._await_steps(0) + self._words.reset(now_s)
        self._mimi_state, self._lm_state = self._mimi.new_state(), self._lm.new_state(terms=self._terms)
        self._n_steps = 0
        return words

    async def finish(self) -> Transcript:
        """End the recording: transcribe the last, partial frame and flush the text delay."""
        if len(self._samples):
            await self._feed_frame(np.pad(self._samples, (0, FRAME_SAMPLES - len(self._samples))))
        await self.flush()
        self._words.finish(self.seconds)
        n_frames = ceil(self._n_samples / FRAME_SAMPLES)
        return self._recorder.transcript(
            self._tokenizer, self._words.words, seconds=self.seconds, frames=n_frames, timing=self.timing
        )

    @property
    def seconds(self) -> float:
        """Duration of the audio received so far."""
        return self._n_samples / SAMPLE_RATE_HZ

    @property
    def context_s(self) -> float:
        """Duration of the audio in the model's context, which starts at the last reset."""
        return self._n_steps * FRAME_S

    @property
    def partial(self) -> str:
        """The text so far of the word in progress."""
        return self._words.partial

    @property
    def timing(self) -> dict[str, float]:
        """See `Clock.to_json`."""
        return self._clock.to_json(self.seconds)

    async def _start_context(self) -> None:
        """Run step 0, which reads the initial tokens, and the silence that some models expect before the audio."""
        self._start_step(None)
        for _ in range(ceil(self._lm.config.silence_prefix_s / FRAME_S - 1e-6)):
            await self._feed_silence()

    async def _feed_silence(self) -> list[Word]:
        return await self._feed_frame(np.zeros(FRAME_SAMPLES, np.float32))

    async def _feed_frame(self, frame: Float32) -> list[Word]:
        """Transcribe one frame, float32 (1920,)."""
        return [word async for result in self._transcribe(frame[None]) for word in result.words]


def _batches(frames: Float32, n: int) -> list[Float32]:
    """Split frames (T, 1920) into batches of at most n."""
    return [frames[start : start + n] for start in range(0, len(frames), n)]
