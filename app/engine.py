"""Entry point of the worker: `Engine` holds the model and the recording and handles the messages of the page."""

import asyncio
from dataclasses import replace
from time import perf_counter
from traceback import print_exc
from typing import Any

import numpy as np
from js import postMessage
from pyodide.ffi import JsProxy
from pyodide_js import _module

from tympan.arrays import Float32
from tympan.endpointing import Turn
from tympan.errors import BadOption, TympanError
from tympan.javascript import js_object
from tympan.loading import Loaded, load
from tympan.protocol import ANSWERS, COMMANDS, EVENTS, MAX_SILENCE_S, MIN_SILENCE_S, REQUESTS, TRACES
from tympan.reasons import Reason
from tympan.session import Session, TranscriptUpdate
from tympan.text.captions import WRITERS, LiveCues
from tympan.text.words import Word
from tympan.transcriber import Transcriber
from tympan.transcript import Trace
from tympan.wasm import module
from tympan.weights.catalogue import CATALOGUE_NAME
from tympan.weights.download import Downloader
from tympan.weights.progress import Progress
from tympan.weights.sources import Offer, WebSource, resolve
from tympan.weights.store import Store
from tympan.weights.store_selection import open_store

# With JavaScript Promise Integration, Pyodide 0.27.8 does not free 16 bytes of the C stack after each callback of the
# event loop. Its 5 MB then last for two to three hours of audio, after which memory is overwritten and Python crashes.
_module.jspiSupported = False

UPDATE_INTERVAL_S = 0.1  # between two updates without new text
FILE_TEXT_INTERVAL_S = 1 / 60  # between two updates with new text, for files: the page draws no more often


class Engine:
    """A model, and one recording at a time. Every request and command of the protocol is a method."""

    def __init__(self) -> None:
        self._model: Loaded | None = None
        self._recording: Recording | None = None
        self._runs_on = ("", "")  # transformer and Mimi, as last reported to the page
        self._store: Store | None = None
        self._downloader: Downloader | None = None  # for the model that is loading
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, message: Any) -> None:
        """Handle a message of the page. A request is answered when it is done; a command is not answered."""
        name, fields = message.name, message.fields.to_py(depth=1)
        if name in COMMANDS:
            getattr(self, name)(**fields)
        else:
            task = asyncio.ensure_future(self._answer(message.id, name, fields))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def offer(self, model: str, embeddings: str, page_url: str) -> dict[str, Any]:
        """Describe the download of a model, and whether the user must agree to it first."""
        return _offer_fields(await (await self._find(model, embeddings, page_url)).offer(), page_url)

    async def open_model(
        self, model: str, backend: str, mimi: str, simd: str, embeddings: str, page_url: str
    ) -> dict[str, Any]:
        """Load a model and return its description. It replaces the previous model, unless loading fails.

        backend, mimi: as of `load`. simd: the level of Mimi's kernels on the CPU; "auto" selects the fastest that the
        browser supports. embeddings: format of the embedding tables if the model is a checkpoint, which is converted
        here.
        """
        module.use(simd)
        source = await self._find(model, embeddings, page_url)
        loaded = await load(source, backend, mimi, on_progress=_post_progress)
        if self._model is not None:
            self._model.transcriber.close()
        self._model, self._runs_on = loaded, _runs_on(loaded)
        return _model_fields(loaded, source)

    async def cancel(self) -> None:
        """Stop the download in progress; `open_model` answers with Cancelled."""
        if self._downloader is not None:
            self._downloader.cancel()

    async def delete_models(self) -> None:
        """Delete all downloaded model files. A loaded model continues to work."""
        self._store = self._store or await open_store()
        await self._store.clear()

    async def begin(self, recording: int, rate_hz: int, live: bool, trace: str, silence_s: float, terms: Any) -> None:
        """Start a recording. Raises BadOption, TooManyTerms.

        rate_hz: of its samples. live: optimize for latency instead of throughput. silence_s: that ends a turn.
        terms: its vocabulary: a text of lines, or an array of lines or {text, weight}.
        """
        assert self._model is not None
        if trace not in [known.value for known in Trace]:
            raise BadOption("trace", trace, tuple(known.value for known in Trace if known.value))
        options = {
            "live": live,
            "trace": Trace(trace),
            "silence_s": min(max(silence_s, MIN_SILENCE_S), MAX_SILENCE_S),
            "terms": terms if isinstance(terms, str) else terms.to_py(),
        }
        self._recording = Recording(recording, self._model.transcriber, rate_hz, self._check_backend, options)

    def push(self, recording: int, samples: JsProxy) -> None:
        """Add samples of a live source. Errors are posted as events. Ignores samples of other recordings."""
        if self._recording is not None and self._recording.number == recording:
            self._recording.push(_floats(samples))

    async def feed(self, recording: int, samples: JsProxy) -> None:
        """Add samples of a file. Returns when the session can take more."""
        await self._current(recording).session.feed(_floats(samples))

    async def finish(self, recording: int) -> dict[str, Any]:
        """End the recording; return its transcript."""
        finished = await self._current(recording).finish()
        self._recording = None
        return finished

    async def abandon(self, recording: int) -> None:
        """Discard the recording, after an error."""
        if self._recording is not None and self._recording.number == recording:
            self._recording.session.abandon()
            self._recording = None

    async def captions(self, words: JsProxy, format: str) -> str:
        """Format words, an array like that of an update, as a file of captions. format: a key of `WRITERS`."""
        return WRITERS[format]([Word.from_json(word) for word in words.to_py()])

    async def _answer(self, request: int, name: str, fields: dict[str, Any]) -> None:
        try:
            assert name in REQUESTS, name
            value = await getattr(self, name)(**fields)
            assert name not in ANSWERS or set(ANSWERS[name]) == set(value) - set(TRACES), name
            _post(id=request, value=value)
        except Exception as error:
            _post(id=request, error=_describe(error))

    def _current(self, recording: int) -> "Recording":
        assert self._recording is not None and self._recording.number == recording
        return self._recording

    def _check_backend(self) -> None:
        """Post a "backend" event if the transformer or Mimi has moved to another backend."""
        assert self._model is not None
        runs_on = _runs_on(self._model)
        if self._runs_on != runs_on:
            lost = Reason("gpu_lost")
            why, mimi_why = (
                lost if before != now else reason
                for before, now, reason in zip(
                    self._runs_on, runs_on, (self._model.why, self._model.mimi_why), strict=True
                )
            )
            self._runs_on, self._model = runs_on, replace(self._model, why=why, mimi_why=mimi_why)
            _post_event("backend", **_backend_fields(self._model))

    async def _find(self, model: str, embeddings: str, page_url: str) -> WebSource:
        """Find a model by the name in the page's address. Its downloads can be stopped by `cancel`."""
        self._store = self._store or await open_store()
        self._downloader = Downloader(self._store)
        return await resolve(model, page_url, f"{page_url}models/{CATALOGUE_NAME}", self._downloader, embeddings)


class Recording:
    """A session that posts its events to the page with sequence numbers."""

    def __init__(
        self, number: int, transcriber: Transcriber, rate_hz: int, on_frame: Any, options: dict[str, Any]
    ) -> None:
        """number: of the recording on the page. on_frame: called before every update. options: of `Session`."""
        self.number = number
        self.session = Session(transcriber, rate_hz, on_update=self._on_update, on_turn=self._on_turn, **options)
        self._on_frame = on_frame
        self._cues = LiveCues()
        self._text_interval_s = 0.0 if options["live"] else FILE_TEXT_INTERVAL_S
        self._sequence, self._n_words = 0, 0  # numbers of posted events and words
        self._words: list[Word] = []  # not posted yet
        self._posted: tuple[str, float] = ("", 0.0)  # partial word and time of the last update
        self._has_failed = False

    def push(self, samples: Float32) -> None:
        """Add samples of a live source. The first error is posted; later samples are ignored."""
        if self._has_failed:
            return
        try:
            self.session.push(samples)
        except Exception as error:
            self._has_failed = True
            self._post("failure", **_describe(error))

    async def finish(self) -> dict[str, Any]:
        """Wait for the last words, post them, and return the transcript."""
        transcript = await self.session.finish()
        self._words = list(transcript.words[self._n_words :])
        self._cues.update(self._words, "", transcript.seconds)
        cues = self._cues.finish(transcript.words)
        self._post_update(TranscriptUpdate((), "", transcript.seconds, 0.0), cues)
        return transcript.to_json()

    def _on_update(self, update: TranscriptUpdate) -> None:
        """Post an update if it is due, to limit the load on the page."""
        self._on_frame()
        self._words += update.words
        partial, posted_s = self._posted
        has_text = bool(self._words) or update.partial != partial
        if perf_counter() - posted_s >= (self._text_interval_s if has_text else UPDATE_INTERVAL_S):
            cues = self._cues.update(self._words, update.partial, update.seconds) if has_text else []
            self._post_update(update, cues)

    def _post_update(self, update: TranscriptUpdate, cues: list[dict[str, Any]]) -> None:
        """Post the words so far. cues: those that are new or have changed."""
        words, self._words = self._words, []
        self._posted = update.partial, perf_counter()
        self._n_words += len(words)
        timing = self.session.timing
        self._post(
            "update",
            words=[word.to_json() for word in words],
            cues=cues,
            partial=update.partial,
            seconds=update.seconds,
            backlog_s=update.backlog_s,
            memory_mb=_module.HEAP8.byteLength / 1e6,
            mimi_ms=timing["mimi_ms"],
            lm_ms=timing["lm_ms"],
            elapsed_s=timing["elapsed_s"],
            real_time_factor=timing["real_time_factor"],
        )

    def _on_turn(self, turn: Turn) -> None:
        self._post("turn", turn=turn.kind.value, seconds=turn.seconds)

    def _post(self, event: str, **fields: Any) -> None:
        self._sequence += 1
        _post_event(event, recording=self.number, sequence=self._sequence, **fields)


def _offer_fields(offer: Offer, page_url: str) -> dict[str, Any]:
    return {**offer.to_json(), "must_ask": offer.must_ask(page_url)}


def _model_fields(model: Loaded, source: WebSource) -> dict[str, Any]:
    manifest = model.manifest
    without_heads = "missing" if source.lacks_heads else "loudness"
    return {
        **manifest.to_json(),
        "bytes": manifest.n_bytes,
        "host": source.host,
        "pauses": "heads" if manifest.lm_config.n_extra_heads else without_heads,
        "simd": module.level(),
        **_backend_fields(model),
    }


def _runs_on(model: Loaded) -> tuple[str, str]:
    """Where the transformer and Mimi run."""
    return model.transcriber.lm.runs_on, model.transcriber.mimi.name


def _backend_fields(model: Loaded) -> dict[str, Any]:
    runs_on, mimi = _runs_on(model)
    return {
        "backend": model.transcriber.lm.name,
        "runs_on": runs_on,
        "why": _describe(model.why),
        "mimi": mimi,
        "mimi_why": _describe(model.mimi_why),
    }


def _describe(reason: Exception | Reason) -> dict[str, Any]:
    """The English sentence of an error or a reason, and the fields that translations need."""
    if isinstance(reason, (TympanError, Reason)):
        return {"kind": reason.kind, "message": str(reason), "fields": dict(reason.fields)}
    print_exc()
    message = f"Something went wrong inside Tympan ({type(reason).__name__}: {reason})."
    return {"kind": "Bug", "message": message, "fields": {}}


def _floats(samples: Any) -> Float32:
    """A Float32Array as float32 (n,)."""
    return np.asarray(samples.to_py(), dtype=np.float32)


def _post_progress(progress: Progress) -> None:
    _post_event(
        "progress",
        phase=progress.phase,
        done=progress.done_bytes,
        total=progress.total_bytes,
        rate=progress.rate,
        seconds_left=progress.seconds_left,
    )


def _post_event(event: str, **fields: Any) -> None:
    assert set(fields) == set(EVENTS[event]), event
    _post(event=event, **fields)


def _post(**message: Any) -> None:
    """Post a message to the page, dicts as plain objects."""
    postMessage(js_object(message))
