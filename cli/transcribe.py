"""Transcribes files by driving the built page in a headless browser, and prints the page's results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.sync_api import Page

from tympan.cli.benchmarks import BROWSERS
from tympan.cli.browser import opened
from tympan.cli.errors import CommandError
from tympan.cli.server import serving
from tympan.cli.site import prepare
from tympan.text.captions import srt, vtt
from tympan.text.words import Word
from tympan.weights.manifest import MANIFEST_NAME

Result: TypeAlias = dict[str, Any]  # what `window.tympan.transcribe` resolves with

MODEL_PATH = "/local-model/"  # URL path under which a local model directory is served
READY_TIMEOUT_S = 7200  # long enough to download a checkpoint and quantize it; then the page is assumed to hang

PRINTERS: dict[str, Callable[[Result], str]] = {  # formats that are printed file by file; json is one document
    "txt": lambda result: f"{result['text']}\n",
    "srt": lambda result: srt(_words(result)),
    "vtt": lambda result: vtt(_words(result)),
}
CAPTIONS = ("srt", "vtt")

# Both return the message of a rejection as a value, because Playwright adds a stack trace to an Error. Naming a model
# on the command line is consent to its download, so the page's download button is pressed.
_READY = """
([seconds]) => {
    const consent = setInterval(() => document.querySelector("#download")?.click(), 100);
    return Promise.race([
        window.tympan.ready.then(() => null, error => error.message),
        new Promise(resolve => setTimeout(resolve, 1000 * seconds, `The page is not ready after ${seconds} s.`)),
    ]).finally(() => clearInterval(consent));
}
"""
_TRANSCRIBE = """
([input, terms]) => window.tympan.transcribe(input.files[0], terms === null ? {} : { terms })
    .then(value => ({ value }), error => ({ error: error.message }))
"""


@dataclass(frozen=True)
class Options:
    """model: catalogue id, directory or URL; empty for the default model. trace: a value of `transcript.Trace`.

    browser: one of BROWSERS. terms: a vocabulary, one term per line. silence_s: that ends a turn; None for the default.
    """

    format: str = "txt"
    model: str = ""
    backend: str = "auto"
    mimi: str = "auto"
    trace: str = ""
    browser: str = BROWSERS[0]
    terms: str = ""
    silence_s: float | None = None


def transcribe(files: Sequence[Path], options: Options) -> bool:
    """Transcribe files one after the other and print each result.

    Returns whether all files succeeded. A file that fails is reported on stderr, and the next one is transcribed.
    Raises CommandError when a file is missing, when several files are given with a caption format, or when the model
    cannot be loaded.
    """
    if len(files) > 1 and options.format in CAPTIONS:
        raise CommandError(f"--format {options.format} takes one file.")
    for file in files:
        if not file.is_file():
            raise CommandError(f"{file}: no such file.")
    results: list[Result] = []
    with opened_page(options) as page:
        for file in files:
            try:
                result = transcribe_file(page, file, options.terms or None)
            except CommandError as error:
                print(f"tympan: {file}: {error}", file=sys.stderr)
                continue
            results.append(result)
            if options.format in PRINTERS:
                sys.stdout.write(PRINTERS[options.format](result))
                sys.stdout.flush()
    if options.format == "json" and results:
        print(json.dumps(results if len(files) > 1 else results[0], ensure_ascii=False))
    return len(results) == len(files)


@contextmanager
def opened_page(options: Options) -> Iterator[Page]:
    """Open the page and load the model. Raises CommandError with the page's message when loading fails."""
    model, mounts = options.model, {}
    if model and Path(model).is_dir():
        if not (Path(model) / MANIFEST_NAME).is_file():
            raise CommandError(f"{model} is not a model directory: it has no {MANIFEST_NAME}.")
        model, mounts = MODEL_PATH, {MODEL_PATH: Path(model)}
    with serving(prepare(), mounts=mounts) as url:
        query = {
            "model": model,
            "backend": options.backend,
            "mimi": options.mimi,
            "trace": options.trace,
            "silence": options.silence_s,
        }
        address = f"{url}/?{urlencode({key: value for key, value in query.items() if value})}"
        with opened(address, browser=options.browser) as page:
            _wait_until_ready(page)
            yield page


def reload(page: Page, **query: str) -> None:
    """Load the model again with other query parameters. Its files are in the browser's storage. Raises CommandError."""
    address = urlsplit(page.url)
    changed = dict(parse_qsl(address.query)) | query
    page.goto(address._replace(query=urlencode({key: value for key, value in changed.items() if value})).geturl())
    _wait_until_ready(page)


def _wait_until_ready(page: Page) -> None:
    if failure := page.evaluate(_READY, [READY_TIMEOUT_S]):
        raise CommandError(failure)


def transcribe_file(page: Page, file: Path, terms: str | None = None) -> Result:
    """Transcribe one file in an opened page. terms: a vocabulary, one term per line; None for that of the page.

    Returns the page's result with the additional key `file`. Raises CommandError with the page's message.
    """
    chooser = page.evaluate_handle("Object.assign(document.createElement('input'), { type: 'file' })").as_element()
    assert chooser is not None
    chooser.set_input_files(file)
    answer = page.evaluate(_TRANSCRIBE, [chooser, terms])
    chooser.dispose()
    if "error" in answer:
        raise CommandError(answer["error"])
    return {"file": str(file), **answer["value"]}


def _words(result: Result) -> list[Word]:
    return [Word.from_json(word) for word in result["words"]]
