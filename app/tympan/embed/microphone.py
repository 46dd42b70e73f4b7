"""The voice in front of the page, word by word."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np
from pyodide.ffi import JsProxy

from tympan.embed.page import Page, PageError
from tympan.embed.report import reported
from tympan.endpointing import Turn
from tympan.errors import MICROPHONE_REASONS, MicrophoneDenied, TympanError
from tympan.session import Session, TranscriptUpdate
from tympan.text.words import Word
from tympan.transcriber import Transcriber
from tympan.transcript import Transcript


class Microphone:
    """Iterate over it for the words. It opens for the first, and is given back when nobody holds it any more."""

    def __init__(self, transcriber: Transcriber, on_turn: Callable[[Turn], None]) -> None:
        self._recording = _Recording(transcriber, on_turn)

    @property
    def partial(self) -> str:
        """The word that is being said."""
        return self._recording.partial

    @property
    def transcript(self) -> Transcript | None:
        """The whole of it, after the last word."""
        return self._recording.transcript

    def stop(self) -> None:
        """Stop listening: the words under way still come."""
        self._recording.stop()

    def __aiter__(self) -> Microphone:
        return self

    async def __anext__(self) -> Word:
        """The next word. Raises MicrophoneDenied, TooSlow, GpuError; NotInWorker."""
        with reported():
            word = await self._recording.next_word()
        if word is None:
            raise StopAsyncIteration
        return word

    def __del__(self) -> None:
        self._recording.abandon()


class _Recording:
    """What the page's messages reach: it holds no Microphone, so that one can be let go."""

    def __init__(self, transcriber: Transcriber, on_turn: Callable[[Turn], None]) -> None:
        self._transcriber, self._on_turn = transcriber, on_turn
        self._page: Page | None = None
        self._session: Session | None = None
        self._words: deque[Word] = deque()  # that nobody has asked for yet
        self._n_words = 0  # so far
        self._changed = asyncio.Event()
        self._is_stopped = False
        self._failure: TympanError | None = None
        self.partial = ""
        self.transcript: Transcript | None = None

    async def next_word(self) -> Word | None:
        """The next word; None after the last."""
        if self._session is None:
            await self._open()
        while not self._words and self.transcript is None:
            if self._failure is not None:
                raise self._failure
            if self._is_stopped:
                await self._finish()
            else:
                self._changed.clear()
                await self._changed.wait()
        return self._words.popleft() if self._words else None

    def stop(self) -> None:
        self._is_stopped = True
        self._changed.set()

    def abandon(self) -> None:
        """Give the microphone back, and forget the recording."""
        if self._page is not None and self._session is not None and self.transcript is None:
            self._page.stop_listening()
            self._session.abandon()

    async def _open(self) -> None:
        self._page = await Page.reach()
        try:
            rate_hz = await self._page.ask("open")
        except PageError as error:
            raise MicrophoneDenied(MICROPHONE_REASONS.get(error.name, str(error))) from error
        self._session = Session(
            self._transcriber, int(rate_hz), live=True, on_update=self._on_update, on_turn=self._on_turn
        )
        self._page.on_samples, self._page.on_end = self._hear, self.stop
        self._page.tell("listen")

    def _hear(self, samples: JsProxy) -> None:
        assert self._session is not None
        try:
            self._session.push(np.asarray(samples.to_py(), dtype=np.float32))
        except TympanError as error:
            self._failure = error
            self.abandon()
            self._changed.set()

    def _on_update(self, heard: TranscriptUpdate) -> None:
        self._words.extend(heard.words)
        self._n_words += len(heard.words)
        self.partial = heard.partial
        self._changed.set()

    async def _finish(self) -> None:
        assert self._page is not None
        assert self._session is not None
        await self._page.ask("close")
        transcript = await self._session.finish()
        self._words.extend(transcript.words[self._n_words :])
        self.partial, self.transcript = "", transcript
