"""A recording that is transcribed while it arrives: a bounded queue in front of a `Stream`.

The session detects turns of speech. When a live speaker pauses, it flushes the words held back by the text delay. In a
pause of a long recording it resets the model's context, because the model may stop producing words after minutes of
one context. A traced recording is neither flushed nor reset: its trace is that of one unbroken stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.endpointing import Turn, TurnDetector, TurnKind
from tympan.errors import TooSlow
from tympan.protocol import SILENCE_S
from tympan.resample import Resampler
from tympan.stuck import StuckDetector
from tympan.text.vocabulary import Terms
from tympan.text.words import Word
from tympan.transcriber import Stream, Transcriber
from tympan.transcript import Trace, Transcript

FILE_STEPS_AHEAD = 8  # steps that the GPU has to do while the results of others are handled
FILE_YIELD_S = 0.03  # a file lets the event loop handle the page's messages this often
FILE_BACKLOG_S = 4.0  # `feed` waits while more than this is queued, so that a file is not held in memory twice
MAX_BACKLOG_S = 60.0  # of a live recording, which cannot wait: `push` fails beyond this
MAX_CONTEXT_S = 120.0  # the context is reset at the first pause after this
MAX_FLUSH_BACKLOG_S = 0.25  # of a live recording: with a larger backlog, transcribing it comes before flushing
MIN_MUTE_CONTEXT_S = 30.0  # a model that produces no words is reset only after this much context


@dataclass(frozen=True)
class TranscriptUpdate:
    """What has changed since the previous update."""

    words: Sequence[Word]  # newly completed words
    partial: str  # the text so far of the word in progress
    seconds: float  # duration of the audio transcribed so far
    backlog_s: float  # duration of the audio queued


class _Abandoned(Exception):
    """The session was abandoned."""


class Session:
    """Feeds a `Stream` from a queue. Calls `on_update` after every frame and `on_turn` for events of endpointing."""

    def __init__(
        self,
        transcriber: Transcriber,
        rate_hz: int = SAMPLE_RATE_HZ,
        *,
        live: bool = False,
        trace: Trace = Trace.NONE,
        silence_s: float = SILENCE_S,
        terms: Terms = (),
        on_update: Callable[[TranscriptUpdate], None] = lambda update: None,
        on_turn: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        """Start a recording. Needs a running event loop.

        rate_hz: of the samples. live: minimize the delay of each word; otherwise maximize throughput.
        silence_s: that ends a turn. terms: see `Transcriber.stream`.
        on_turn: for a file, called for MUTE and STUCK only.
        """
        self._stream: Stream = transcriber.stream(n_ahead=0 if live else FILE_STEPS_AHEAD, trace=trace, terms=terms)
        self._max_frames = transcriber.mimi.max_frames  # frames that Mimi encodes in one call
        self._turns = TurnDetector(transcriber.lm.config, silence_s)
        self._stuck, self._stuck_s = StuckDetector(transcriber.lm.config), list[float]()
        self._n_reported = 0  # words
        self._is_live, self._is_traced, self._on_turn = live, trace is not Trace.NONE, on_turn
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ) if rate_hz != SAMPLE_RATE_HZ else None
        self._on_update, self._rate_hz = on_update, rate_hz
        self._queue: deque[Float32] = deque()
        self._n_queued = 0  # samples, at rate_hz
        self._changed = asyncio.Event()  # set when the queue or the state has changed
        self._ended = self._is_abandoned = False
        self._yielded_s = 0.0  # time of the last yield to the event loop
        self._worker = asyncio.ensure_future(self._run())

    @property
    def backlog_s(self) -> float:
        """Duration of the audio queued, in seconds."""
        return self._n_queued / self._rate_hz

    @property
    def timing(self) -> dict[str, float]:
        """Timing so far, as in `Transcript.timing`."""
        return self._stream.timing

    def push(self, samples: Float32) -> None:
        """Queue samples of a live recording, float32 (n,) in [-1, 1].

        Raises TooSlow if the backlog exceeds MAX_BACKLOG_S, and the error that ended transcription, if any.
        """
        self._raise_error()
        if self.backlog_s > MAX_BACKLOG_S:
            raise TooSlow(self.backlog_s)
        self._enqueue(samples)

    async def feed(self, samples: Float32) -> None:
        """Queue samples of a file, float32 (n,) in [-1, 1], and wait until the backlog is at most FILE_BACKLOG_S.

        Raises the error that ended transcription, if any.
        """
        self._raise_error()
        self._enqueue(samples)
        while self.backlog_s > FILE_BACKLOG_S and not self._worker.done():
            self._changed.clear()
            await self._changed.wait()
        self._raise_error()

    async def finish(self) -> Transcript:
        """End the recording: transcribe the backlog and return the transcript."""
        self._ended = True
        self._changed.set()
        await self._worker
        transcript = await self._stream.finish()
        if words := transcript.words[self._n_reported :]:
            self._report(words)
        self._emit(self._turns.finish())
        return replace(transcript, stuck=self._stuck_s)

    def abandon(self) -> None:
        """Stop at the next frame and discard the recording."""
        self._ended = self._is_abandoned = True  # cancelling the task would make Pyodide's event loop log an error
        self._queue.clear()
        self._changed.set()

    def _enqueue(self, samples: Float32) -> None:
        self._queue.append(samples)
        self._n_queued += len(samples)
        self._changed.set()

    def _raise_error(self) -> None:
        """Raise the error that ended transcription, if any."""
        if self._worker.done():
            self._worker.result()

    async def _run(self) -> None:
        try:
            with suppress(_Abandoned):
                await self._transcribe_queue()
        finally:
            self._changed.set()  # wakes a `feed` that waits for the backlog to shrink

    async def _transcribe_queue(self) -> None:
        while self._queue or not self._ended:
            if not self._queue:
                self._changed.clear()
                await self._changed.wait()
                continue
            samples = self._queue.popleft()
            n_piece = self._max_frames * FRAME_SAMPLES
            for start in range(0, len(samples), n_piece):
                piece = samples[start : start + n_piece]
                self._n_queued -= len(piece)
                await self._transcribe(piece if self._resampler is None else self._resampler(piece))
        if self._resampler is not None:
            await self._transcribe(self._resampler.flush())

    async def _transcribe(self, samples: Float32) -> None:
        """Transcribe samples at 24 kHz, then act on the turns detected in them."""
        kinds: list[TurnKind] = []
        async for result in self._stream.steps(samples):
            self._changed.set()
            self._report(result.words)
            kinds += self._turns.push(result.frame, result.step)
            if self._stuck.push(result.step, self._turns.n_quiet) and not self._is_traced:
                kinds.append(TurnKind.STUCK)
            if self._is_live or perf_counter() - self._yielded_s > FILE_YIELD_S:
                await asyncio.sleep(0)  # lets the event loop handle the page's messages
                self._yielded_s = perf_counter()
            if self._is_abandoned:
                raise _Abandoned
        if kinds and not self._is_traced:
            await self._flush_or_reset(kinds)
        self._emit(kinds)

    def _emit(self, kinds: Sequence[TurnKind]) -> None:
        for kind in kinds:
            if self._is_live or kind in (TurnKind.MUTE, TurnKind.STUCK):
                self._on_turn(Turn(kind, self._stream.seconds))

    async def _flush_or_reset(self, kinds: Sequence[TurnKind]) -> None:
        """Flush the stream in a pause, and reset its context when that is due."""
        states = [kind for kind in kinds if kind not in (TurnKind.MUTE, TurnKind.STUCK)]
        is_pause = bool(states) and states[-1] is not TurnKind.SPEECH
        is_long = self._stream.context_s > MAX_CONTEXT_S
        is_prompt = self._is_live and self.backlog_s <= MAX_FLUSH_BACKLOG_S
        if is_pause and self._turns.has_pending_words and (is_long or is_prompt):
            words = await self._stream.flush()
            self._turns.flushed(has_words=bool(words))
            self._report(words)
        is_mute = TurnKind.MUTE in kinds and self._stream.context_s > MIN_MUTE_CONTEXT_S
        is_stuck = TurnKind.STUCK in kinds
        if is_stuck:
            self._stuck_s.append(self._stream.seconds)
        if is_mute or is_stuck or (is_pause and is_long):
            self._report(await self._stream.reset_context())
            self._stuck.reset()

    def _report(self, words: Sequence[Word]) -> None:
        self._n_reported += len(words)
        self._on_update(TranscriptUpdate(words, self._stream.partial, self._stream.seconds, self.backlog_s))
