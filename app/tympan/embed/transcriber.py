"""`tympan.Transcriber` in other pages: loads a model by name, and transcribes the page's microphone and files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tympan import loading, transcriber
from tympan.arrays import Float32
from tympan.config import SAMPLE_RATE_HZ
from tympan.embed.package_site import package_model
from tympan.embed.report import reported
from tympan.embed.wav import decode_wav, has_page
from tympan.endpointing import Turn
from tympan.errors import BadAudio, DownloadFailed
from tympan.protocol import REASONS, SILENCE_S
from tympan.session import FILE_BACKLOG_S, Session
from tympan.text.vocabulary import Terms
from tympan.transcript import Trace, Transcript
from tympan.weights.manifest import Manifest
from tympan.weights.model import Folder, Source
from tympan.weights.progress import Progress, ignore_progress

if TYPE_CHECKING:
    from tympan.embed.microphone import MicrophoneStream


class EmbeddedTranscriber(transcriber.Transcriber):
    """A loaded model. Run one recording at a time: most devices are too slow for two."""

    manifest: Manifest

    @classmethod
    async def load(
        cls,
        model: str | Path = "",
        *,
        backend: str = "auto",
        mimi: str = "auto",
        on_progress: Callable[[Progress], None] = ignore_progress,
    ) -> EmbeddedTranscriber:
        """Load a model.

        model: an id in the catalogue of the site that served this library, "" for the first one; or the URL of a model
        directory. Outside of a browser: an id in the catalogue of the installed wheel, or a path.
        backend, mimi, on_progress: as of `tympan.loading.load`.
        Raises ModelError, GpuError, BadOption; NotInWorker.
        """
        with reported():
            loaded = await loading.load(await _find(model), backend, mimi, on_progress)
        parts = loaded.transcriber
        opened = cls(parts.mimi, parts.lm, parts.tokenizer, parts.calibration)
        opened.manifest = loaded.manifest
        return opened

    async def transcribe(self, source: Any, *, trace: Trace = Trace.NONE, terms: Terms = ()) -> Transcript:
        """Transcribe a whole recording.

        source: samples, float32 (n_samples,) in [-1, 1], mono at 24 kHz; in a page also a URL, relative to
        the page, or bytes, a Blob or a File that the browser can decode; without a page also the path or the bytes of
        a WAV file. terms: a vocabulary, see `Transcriber.stream`.
        Raises BadAudio, DownloadFailed, GpuError, TooManyTerms.
        """
        step = int(FILE_BACKLOG_S * SAMPLE_RATE_HZ)
        with reported():
            pcm = source if isinstance(source, np.ndarray) else await _decode(source)
            recording = Session(self, trace=trace, terms=terms)
            for start in range(0, len(pcm), step):
                await recording.feed(pcm[start : start + step])
            return await recording.finish()

    def microphone(
        self,
        *,
        on_turn: Callable[[Turn], None] = lambda turn: None,
        silence_s: float = SILENCE_S,
        terms: Terms = (),
    ) -> MicrophoneStream:
        """Transcribe the page's microphone: `async with stt.microphone() as microphone`, then
        `async for word in microphone`.

        on_turn: called when a turn of speech begins, pauses or ends. silence_s: that ends a turn. terms: a vocabulary,
        see `Transcriber.stream`; the first word raises TooManyTerms.
        """
        from tympan.embed.microphone import MicrophoneStream

        return MicrophoneStream(self, on_turn, silence_s, terms)


async def _find(model: str | Path) -> Source:
    if isinstance(model, Path):
        return Folder(model)
    if sys.platform != "emscripten":
        found = package_model(model)
        return found if isinstance(found, Folder) else Folder(Path(model))
    from tympan.embed.page_bridge import check_worker

    check_worker()
    from tympan.embed.site import find_model

    return await find_model(model)


async def _decode(source: Any) -> Float32:
    """Request the page to decode a URL, bytes or a Blob to samples; decode a WAV file here if there is no page.

    Raises BadAudio, DownloadFailed.
    """
    if isinstance(source, (str, Path)) and not has_page():
        path = Path(source)
        try:
            return decode_wav(path.read_bytes(), path.name)
        except OSError as error:
            raise BadAudio(path.name, REASONS["unreadable"].format(detail=error.strerror)) from error
    if isinstance(source, bytes) and not has_page():
        return decode_wav(source)
    from tympan.embed.page_bridge import PageBridge, PageError

    bridge = await PageBridge.connect()
    try:
        samples = await bridge.request("decode", source)
    except PageError as error:
        if error.kind == "DownloadFailed":
            raise DownloadFailed(error.fields["url"], error.reason) from error
        raise BadAudio(error.fields.get("name", "Recording"), error.reason) from error
    return np.asarray(samples.to_py(), dtype=np.float32)
