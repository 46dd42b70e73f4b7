"""A recording that comes in while it is being transcribed: a bounded queue in front of a `Stream`.

Its turns are watched. When a live voice pauses, the words that the text delay holds back are fetched at once; and in a
pause of a long recording the model begins anew, as it may fall silent after minutes of one context. A recording with a
trace is left to itself: it is exactly what the model makes of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.endpointing import Turn, TurnDetector, TurnKind
from tympan.errors import TooSlow
from tympan.resample import Resampler
from tympan.text.words import Word
from tympan.transcriber import MOST_TOGETHER, Stream, Transcriber
from tympan.transcript import Trace, Transcript

FILE_STEPS_AHEAD = 4
FILE_BACKLOG_S = 4.0  # a file is handed over no faster than this, to keep it out of memory twice
LONGEST_BACKLOG_S = 60.0  # a voice cannot wait: this far behind, listening ends
LONGEST_CONTEXT_S = 120.0  # after which the model begins anew at the next pause
MOST_BEHIND_S = 0.25  # of a live voice: with more waiting, the time is better spent on that than on a flush
SHORTEST_MUTE_S = 30.0  # a context in which a model that says nothing is given another chance


@dataclass(frozen=True)
class TranscriptUpdate:
    """What one more piece of audio brought."""

    words: Sequence[Word]  # new and complete
    partial: str  # the word that is being said
    seconds: float  # of audio transcribed
    backlog_s: float  # of audio waiting


class _Abandoned(Exception):
    """Nobody wants the recording any more."""


class Session:
    """Feeds a stream from a queue, tells `on_update` about every frame, and `on_turn` about turns."""

    def __init__(
        self,
        transcriber: Transcriber,
        rate_hz: int = SAMPLE_RATE_HZ,
        *,
        live: bool = False,
        trace: Trace = Trace.NONE,
        on_update: Callable[[TranscriptUpdate], None] = lambda heard: None,
        on_turn: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        """rate_hz: of what comes in. live: every word as soon as can be, rather than the most frames a second.

        on_turn: told of a file only that the model is mute.
        """
        self._stream: Stream = transcriber.stream(n_ahead=0 if live else FILE_STEPS_AHEAD, trace=trace)
        self._turns = TurnDetector(transcriber.lm.config)
        self._is_live, self._is_traced, self._on_turn = live, trace is not Trace.NONE, on_turn
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ) if rate_hz != SAMPLE_RATE_HZ else None
        self._on_update, self._rate_hz = on_update, rate_hz
        self._queue: deque[Float32] = deque()
        self._n_queued = 0  # samples at the rate they came in
        self._changed = asyncio.Event()  # something came in or went out
        self._ended = self._is_abandoned = False
        self._pump = asyncio.ensure_future(self._run())

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait to be transcribed."""
        return self._n_queued / self._rate_hz

    @property
    def timing(self) -> dict[str, float]:
        """Where the time has gone so far, as in `Transcript.timing`."""
        return self._stream.timing

    def hear(self, samples: Float32) -> None:
        """Take samples of a live voice, float32 (n,) in [-1, 1]. Raises TooSlow when the machine cannot follow."""
        self._check()
        if self.backlog_s > LONGEST_BACKLOG_S:
            raise TooSlow(self.backlog_s)
        self._put(samples)

    async def feed(self, samples: Float32) -> None:
        """Take samples of a file, float32 (n,) in [-1, 1], and wait until most of what came before is transcribed."""
        self._check()
        self._put(samples)
        while self.backlog_s > FILE_BACKLOG_S and not self._pump.done():
            self._changed.clear()
            await self._changed.wait()
        self._check()

    async def finish(self) -> Transcript:
        """The recording is over: wait for its last word."""
        self._ended = True
        self._changed.set()
        await self._pump
        return await self._stream.finish()

    def abandon(self) -> None:
        """Stop at the next frame and forget the recording."""
        self._ended = self._is_abandoned = True  # no task is cancelled: Pyodide's loop complains of those
        self._queue.clear()
        self._changed.set()

    def _put(self, samples: Float32) -> None:
        self._queue.append(samples)
        self._n_queued += len(samples)
        self._changed.set()

    def _check(self) -> None:
        """Raise what ended the pump, if anything did."""
        if self._pump.done():
            self._pump.result()

    async def _run(self) -> None:
        try:
            with suppress(_Abandoned):
                await self._transcribe_queue()
        finally:
            self._changed.set()  # nobody may go on waiting for a pump that has stopped

    async def _transcribe_queue(self) -> None:
        while self._queue or not self._ended:
            if not self._queue:
                self._changed.clear()
                await self._changed.wait()
                continue
            samples = self._queue.popleft()
            for start in range(0, len(samples), MOST_TOGETHER * FRAME_SAMPLES):
                piece = samples[start : start + MOST_TOGETHER * FRAME_SAMPLES]
                self._n_queued -= len(piece)
                await self._transcribe(piece if self._resampler is None else self._resampler(piece))
        if self._resampler is not None:
            await self._transcribe(self._resampler.flush())

    async def _transcribe(self, samples: Float32) -> None:
        """One piece of audio; and when it ends in a pause, what there is to do then."""
        kinds: list[TurnKind] = []
        async for said in self._stream.steps(samples):
            self._changed.set()
            self._tell(said.words)
            kinds += self._turns.push(said.frame, said.step)
            await asyncio.sleep(0)  # lets the page's messages in between two frames
            if self._is_abandoned:
                raise _Abandoned
        if kinds and not self._is_traced:
            await self._turn(kinds)
        for kind in kinds:
            if self._is_live or kind is TurnKind.MUTE:
                self._on_turn(Turn(kind, self._stream.seconds))

    async def _turn(self, kinds: Sequence[TurnKind]) -> None:
        """Nobody speaks, or the model does not answer."""
        is_pause = kinds[-1] in (TurnKind.PAUSE, TurnKind.END)
        is_long = self._stream.context_s > LONGEST_CONTEXT_S
        is_prompt = self._is_live and self.backlog_s <= MOST_BEHIND_S
        if is_pause and self._turns.owes_words and (is_long or is_prompt):
            words = await self._stream.flush()
            self._turns.flushed(has_words=bool(words))
            self._tell(words)
        is_mute = TurnKind.MUTE in kinds and self._stream.context_s > SHORTEST_MUTE_S
        if is_mute or (is_pause and is_long):
            self._tell(await self._stream.restart())

    def _tell(self, words: Sequence[Word]) -> None:
        self._on_update(TranscriptUpdate(words, self._stream.partial, self._stream.seconds, self.backlog_s))
