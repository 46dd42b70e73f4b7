"""The page's microphone, transcribed word by word."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np
from pyodide.ffi import JsProxy

from tympan.embed.page_bridge import PageBridge, PageError
from tympan.embed.report import reported
from tympan.endpointing import Turn
from tympan.errors import MicrophoneDenied, TympanError
from tympan.session import Session, TranscriptUpdate
from tympan.text.vocabulary import Terms
from tympan.text.words import Word
from tympan.transcriber import Transcriber
from tympan.transcript import Transcript


class MicrophoneStream:
    """An async iterator of words, and an async context manager that closes the microphone.

        async with stt.microphone() as microphone:
            async for word in microphone:
                ...

    Without `async with`, the first iteration opens the microphone. It is closed after the last word, after an error,
    or when the stream is garbage collected, for example after a `break`.
    """

    def __init__(
        self, transcriber: Transcriber, on_turn: Callable[[Turn], None], silence_s: float, terms: Terms
    ) -> None:
        self._recording = _Recording(transcriber, on_turn, silence_s, terms)

    @property
    def partial(self) -> str:
        """The word being spoken, so far."""
        return self._recording.partial

    @property
    def transcript(self) -> Transcript | None:
        """The transcript; None before the last word."""
        return self._recording.transcript

    def stop(self) -> None:
        """Stop listening. The iteration ends after the remaining words."""
        self._recording.stop()

    def close(self) -> None:
        """Close the microphone and discard audio that is not transcribed yet. The iteration ends."""
        self._recording.close()

    async def __aenter__(self) -> MicrophoneStream:
        """Open the microphone. Raises MicrophoneDenied, NotInWorker."""
        with reported():
            await self._recording.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __aiter__(self) -> MicrophoneStream:
        return self

    async def __anext__(self) -> Word:
        """The next word. Raises MicrophoneDenied, TooSlow, GpuError; NotInWorker."""
        try:
            with reported():
                word = await self._recording.next_word()
        except BaseException:
            self.close()
            raise
        if word is None:
            raise StopAsyncIteration
        return word

    def __del__(self) -> None:
        self._recording.close()


class _Recording:
    """Handles the page's messages. It has no reference to the MicrophoneStream, which can thus be garbage collected."""

    def __init__(
        self, transcriber: Transcriber, on_turn: Callable[[Turn], None], silence_s: float, terms: Terms
    ) -> None:
        self._transcriber, self._on_turn = transcriber, on_turn
        self._silence_s, self._terms = silence_s, terms
        self._bridge: PageBridge | None = None
        self._session: Session | None = None
        self._words: deque[Word] = deque()  # not yet returned by `next_word`
        self._n_words = 0  # received so far
        self._changed = asyncio.Event()
        self._is_stopped = self._is_closed = False
        self._error: TympanError | None = None
        self.partial = ""
        self.transcript: Transcript | None = None

    async def open(self) -> None:
        """Open the microphone. Raises MicrophoneDenied, NotInWorker."""
        self._bridge = await PageBridge.connect()
        try:
            rate_hz = await self._bridge.request("open")
        except PageError as error:
            raise MicrophoneDenied(error.reason) from error
        self._session = Session(
            self._transcriber,
            int(rate_hz),
            live=True,
            silence_s=self._silence_s,
            terms=self._terms,
            on_update=self._on_update,
            on_turn=self._on_turn,
        )
        self._bridge.on_samples, self._bridge.on_end = self._on_samples, self.stop
        self._bridge.send("listen")

    async def next_word(self) -> Word | None:
        """The next word; None after the last."""
        if self._session is None and not self._is_closed:
            await self.open()
        while not self._words and self.transcript is None and not self._is_closed:
            if self._error is not None:
                raise self._error
            if self._is_stopped:
                await self._finish()
            else:
                self._changed.clear()
                await self._changed.wait()
        return self._words.popleft() if self._words else None

    def stop(self) -> None:
        self._is_stopped = True
        self._changed.set()

    def close(self) -> None:
        """Close the microphone, and discard the recording unless it is finished."""
        if self._bridge is not None and self._session is not None and not self._is_closed and self.transcript is None:
            self._bridge.close_microphone()
            self._session.abandon()
        self._is_closed = True
        self._changed.set()

    def _on_samples(self, samples: JsProxy) -> None:
        assert self._session is not None
        try:
            self._session.push(np.asarray(samples.to_py(), dtype=np.float32))
        except TympanError as error:
            self._error = error
            self._changed.set()

    def _on_update(self, update: TranscriptUpdate) -> None:
        self._words.extend(update.words)
        self._n_words += len(update.words)
        self.partial = update.partial
        self._changed.set()

    async def _finish(self) -> None:
        assert self._bridge is not None
        assert self._session is not None
        await self._bridge.request("close")
        transcript = await self._session.finish()
        self._words.extend(transcript.words[self._n_words :])
        self.partial, self.transcript = "", transcript
