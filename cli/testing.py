"""Pytest fixtures to test pages that listen, with Playwright: `pytest_plugins = ["cli.testing"]`.

docs/testing.md shows their use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from bench.word_errors import word_error_rate
from cli import chromium
from cli.server import serving
from cli.site import build

__all__ = ["OpenBrowser", "OpenPage", "tympan_browser", "tympan_page", "tympan_url", "word_error_rate"]

URL_VARIABLE = "TYMPAN_URL"
READY_MS = 180_000  # a machine that tests much at once starts Pyodide slowly

OpenBrowser: TypeAlias = Callable[..., Browser]
OpenPage: TypeAlias = Callable[..., Page]


@pytest.fixture(scope="session")
def tympan_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Tympan site: $TYMPAN_URL, or else this checkout's, built and served for the session."""
    if named := os.environ.get(URL_VARIABLE):
        yield named.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("tympan")
    build(folder)
    with serving(folder) as url:
        yield url


@pytest.fixture(scope="session")
def tympan_browser(request: pytest.FixtureRequest) -> Iterator[OpenBrowser]:
    """A function from a WAV file to a headless Chromium whose microphone it is; one browser for each file.

    Every time that a page opens the microphone, the file is heard once from its beginning, and silence after it. No
    permission is asked for. Without a file there is no microphone.
    """
    browsers: dict[Path | None, Browser] = {}
    playwright = _running_playwright(request)

    def open_browser(microphone: str | os.PathLike[str] | None = None) -> Browser:
        wav = None if microphone is None else Path(microphone).resolve()
        if wav not in browsers:
            browsers[wav] = playwright.chromium.launch(executable_path=chromium.find(), args=_flags(wav))
        return browsers[wav]

    yield open_browser
    for browser in browsers.values():
        browser.close()


@pytest.fixture
def tympan_page(tympan_url: str, tympan_browser: OpenBrowser) -> Iterator[OpenPage]:
    """A function that opens the site's page in a fresh profile, and returns it when the model is loaded.

    microphone: as `tympan_browser` takes it. query: of the address, as in "backend=numpy".
    """
    pages: list[Page] = []

    def open_page(microphone: str | os.PathLike[str] | None = None, query: str = "") -> Page:
        pages.append(tympan_browser(microphone).new_context().new_page())
        pages[-1].goto(f"{tympan_url}/?{query}")
        pages[-1].evaluate(
            """ms => Promise.race([tympan.ready, new Promise((_, reject) => setTimeout(reject, ms, "not ready"))])""",
            READY_MS,
        )
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


def _running_playwright(request: pytest.FixtureRequest) -> Playwright:
    """The one that is running, where there is one: two cannot run beside each other."""
    try:
        running: Playwright = request.getfixturevalue("playwright")
    except pytest.FixtureLookupError:
        playwright = sync_playwright()
        running = playwright.start()
        request.addfinalizer(running.stop)
    return running


def _flags(microphone: Path | None) -> list[str]:
    flags = chromium.flags()
    if microphone is not None:
        flags += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    return flags
