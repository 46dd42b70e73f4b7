"""The worker's entry: the model and the recording that goes through it, offered to the page as functions.

Every function answers with a JSON text: {"value": ...}, or {"error": {"kind", "message", "fields"}} for a person to
read. PyScript would let an exception vanish here, and the caller wait for ever. Progress and words are posted as
messages.
"""

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from traceback import print_exc
from typing import Any

import numpy as np
from js import Object, postMessage
from pyodide.ffi import JsProxy, to_js
from pyodide_js import _module

from tympan.endpointing import Turn
from tympan.errors import BadOption, TympanError
from tympan.lm.backend_selection import Reason
from tympan.loading import Loaded, load
from tympan.session import Session, TranscriptUpdate
from tympan.text.captions import WRITERS
from tympan.text.words import Word
from tympan.transcript import Trace
from tympan.wasm import module
from tympan.weights.catalogue import CATALOGUE_NAME
from tympan.weights.download import Downloader
from tympan.weights.progress import Progress
from tympan.weights.sources import Directory, Hub, resolve
from tympan.weights.store import Store, open_store

__export__ = [
    "abandon",
    "begin",
    "cancel",
    "captions",
    "delete_models",
    "feed",
    "finish",
    "hear",
    "offer",
    "open_model",
]

model: Loaded | None = None
runs_on = ""  # that the page has been told
session: Session | None = None
store: Store | None = None
downloader: Downloader | None = None  # of the model that is loading


def answers(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[str]]:
    """Make what a function returns or raises a JSON text."""

    @wraps(function)
    async def answer(*arguments: Any) -> str:
        try:
            return json.dumps({"value": await function(*arguments)})
        except TympanError as error:
            return json.dumps({"error": sentence(error)})
        except Exception as error:
            print_exc()
            message = f"Something went wrong inside Tympan ({type(error).__name__}: {error})."
            return json.dumps({"error": {"kind": "Bug", "message": message}})

    return answer


def sentence(said: TympanError | Reason) -> dict[str, Any]:
    """What Tympan says in English, and what it takes to say it in another language."""
    return {"kind": said.kind, "message": str(said), "fields": dict(said.fields)}


def tell(kind: str, **facts: Any) -> None:
    """Post a message to the page."""
    postMessage(to_js({"kind": kind, **facts}, dict_converter=Object.fromEntries))


async def find_source(name: str, page_url: str) -> Directory | Hub:
    """Find a model by what the page's address says, ready to be downloaded; `cancel` ends that."""
    global store, downloader
    store = store or await open_store()
    downloader = Downloader(store)
    return await resolve(name, page_url, f"{page_url}models/{CATALOGUE_NAME}", downloader)


@answers
async def offer(name: str, page_url: str) -> dict[str, Any]:
    """Tell what loading a model would mean, and whether a person has to agree first."""
    found = await (await find_source(name, page_url)).offer()
    return {
        "title": found.title,
        "languages": found.languages,
        "licence": found.licence,
        "source": found.source,
        "notes": found.notes,
        "bytes": found.n_bytes,
        "missing": found.missing_bytes,
        "host": found.host,
        "must_ask": found.must_ask(page_url),
    }


@answers
async def open_model(name: str, backend: str, simd: str, page_url: str) -> dict[str, Any]:
    """Load a model in place of the one before, which stays where that fails; tell what it is.

    simd: the level of Mimi's kernels, "auto" for the fastest that runs here.
    """
    global model, runs_on
    module.use(simd)
    source = await find_source(name, page_url)
    loaded = await load(source, backend, on_progress=_tell_progress)
    if model is not None:
        model.transcriber.lm.close()
    model, runs_on = loaded, loaded.transcriber.lm.runs_on
    manifest = model.manifest
    return {
        "title": manifest.title,
        "languages": manifest.languages,
        "licence": manifest.licence,
        "notes": manifest.notes,
        "bytes": manifest.n_bytes,
        "host": source.host,
        "simd": module.level(),
        **_backend(model.why),
    }


def _backend(why: TympanError | Reason) -> dict[str, Any]:
    """What the transformer runs on."""
    assert model is not None
    lm = model.transcriber.lm
    return {"backend": lm.name, "runs_on": lm.runs_on, "why": sentence(why)}


def _tell_progress(progress: Progress) -> None:
    tell(
        "progress",
        phase=progress.phase,
        done=progress.done_bytes,
        total=progress.total_bytes,
        rate=progress.rate,
        seconds_left=progress.seconds_left,
    )


@answers
async def cancel() -> None:
    """Stop the download that is going on; `open_model` answers with Cancelled."""
    if downloader is not None:
        downloader.cancel()


@answers
async def delete_models() -> None:
    """Delete every file that was downloaded for a model. One that is loaded goes on working."""
    global store
    store = store or await open_store()
    await store.clear()


@answers
async def begin(rate_hz: int, live: bool, trace: str) -> None:
    """Begin a recording. rate_hz: of the samples to come. live: words at once, rather than the most frames a second."""
    global session
    assert model is not None
    if trace not in [known.value for known in Trace]:
        raise BadOption("trace", trace, tuple(known.value for known in Trace if known.value))
    session = Session(
        model.transcriber, rate_hz, live=live, trace=Trace(trace), on_update=_tell_heard, on_turn=_tell_turn
    )


def _tell_heard(heard: TranscriptUpdate) -> None:
    global runs_on
    assert model is not None and session is not None
    if runs_on != model.transcriber.lm.runs_on:
        runs_on = model.transcriber.lm.runs_on
        tell("moved", **_backend(Reason("gpu_lost")))
    words = [word.to_json() for word in heard.words]
    tell(
        "heard",
        words=words,
        partial=heard.partial,
        seconds=heard.seconds,
        backlog_s=heard.backlog_s,
        memory_mb=_module.HEAP8.byteLength / 1e6,
        **session.timing,
    )


def _tell_turn(turn: Turn) -> None:
    tell("turn", turn=turn.kind.value, seconds=turn.seconds)


@answers
async def hear(samples: JsProxy) -> None:
    """Take samples of a voice: a Float32Array."""
    assert session is not None
    session.push(np.asarray(samples.to_py(), dtype=np.float32))


@answers
async def feed(samples: JsProxy) -> None:
    """Take samples of a file, a Float32Array; answers when there is room for more."""
    assert session is not None
    await session.feed(np.asarray(samples.to_py(), dtype=np.float32))


@answers
async def finish() -> dict[str, Any]:
    """End the recording and give its transcript."""
    assert session is not None
    return (await session.finish()).to_json()


@answers
async def abandon() -> None:
    """Forget the recording, after an error."""
    if session is not None:
        session.abandon()


@answers
async def captions(words: str, kind: str) -> str:
    """Write words, a JSON list of {text, start, end}, as one of the kinds of `WRITERS`."""
    return WRITERS[kind]([Word(word["text"], word["start"], word["end"]) for word in json.loads(words)])
