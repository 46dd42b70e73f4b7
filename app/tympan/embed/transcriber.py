"""`Transcriber` for authors: loaded by name, with the page's microphone and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tympan import loading, transcriber
from tympan.arrays import Float32
from tympan.config import SAMPLE_RATE_HZ
from tympan.embed.report import reported
from tympan.endpointing import Turn
from tympan.errors import BadAudio, DownloadFailed
from tympan.session import FILE_BACKLOG_S, Session
from tympan.transcript import Trace, Transcript
from tympan.weights.manifest import Manifest
from tympan.weights.model import Folder, Source
from tympan.weights.progress import Progress, ignore_progress

if TYPE_CHECKING:
    from tympan.embed.microphone import Microphone


class Transcriber(transcriber.Transcriber):
    """A model that is ready. One recording at a time is what a machine has the strength for."""

    manifest: Manifest

    @classmethod
    async def load(
        cls, model: str | Path = "", *, backend: str = "auto", on_progress: Callable[[Progress], None] = ignore_progress
    ) -> Transcriber:
        """Load a model.

        model: an id of the catalogue of the site that this library came from, "" for its first one; the address of a
        model directory; outside of a browser the path of one. backend, on_progress: as `tympan.loading.load` says.
        Raises ModelError, GpuError, BadOption; NotInWorker.
        """
        with reported():
            loaded = await loading.load(await _find(model), backend, on_progress)
        parts = loaded.transcriber
        opened = cls(parts.mimi, parts.lm, parts.tokenizer)
        opened.manifest = loaded.manifest
        return opened

    async def transcribe(self, source: Any, *, trace: Trace = Trace.NONE) -> Transcript:
        """Transcribe a whole recording.

        source: samples, float32 (n_samples,) in [-1, 1], mono at 24 kHz; in a page also an address, relative to the
        page, or bytes, a Blob or a File of whatever the browser can decode.
        Raises BadAudio, DownloadFailed, GpuError.
        """
        step = int(FILE_BACKLOG_S * SAMPLE_RATE_HZ)
        with reported():
            pcm = source if isinstance(source, np.ndarray) else await _decode(source)
            recording = Session(self, trace=trace)
            for start in range(0, len(pcm), step):
                await recording.feed(pcm[start : start + step])
            return await recording.finish()

    def microphone(self, *, on_turn: Callable[[Turn], None] = lambda turn: None) -> Microphone:
        """The words of the voice in front of the page: `async for word in stt.microphone()`.

        on_turn: told who begins to speak, who pauses and who has finished.
        """
        from tympan.embed.microphone import Microphone

        return Microphone(self, on_turn)


async def _find(model: str | Path) -> Source:
    if isinstance(model, Path):
        return Folder(model)
    from tympan.embed.page import check_worker

    check_worker()
    from tympan.embed.site import find_model

    return await find_model(model)


async def _decode(source: Any) -> Float32:
    """An address, bytes or a Blob, as samples. Raises BadAudio, DownloadFailed."""
    from tympan.embed.page import Page, PageError

    page = await Page.reach()
    try:
        samples = await page.ask("decode", source)
    except PageError as error:
        if error.name == "DownloadFailed":
            raise DownloadFailed(source, "the address does not answer, or refuses") from error
        name = source if isinstance(source, str) else "The recording"
        raise BadAudio(name, "the browser finds no sound in it that it can decode") from error
    return np.asarray(samples.to_py(), dtype=np.float32)
