"""Pytest plugin for pages that use the microphone: `pytest_plugins = ["tympan.cli.testing"]`. See docs/testing.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tympan.cli import chromium, site
from tympan.cli.locking import locked
from tympan.cli.server import serving
from tympan.cli.word_errors import word_error_rate

__all__ = [
    "OpenBrowser",
    "OpenPage",
    "tympan_browser",
    "tympan_chromium",
    "tympan_page",
    "tympan_site",
    "tympan_url",
    "word_error_rate",
]

URL_VARIABLE = "TYMPAN_URL"
READY_MS = 180_000  # Pyodide starts slowly when several tests run at once

OpenBrowser: TypeAlias = Callable[..., Browser]
OpenPage: TypeAlias = Callable[..., Page]


@pytest.fixture(scope="session")
def tympan_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site: $TYMPAN_SITE, or that of the installed package; in a checkout, built once per run.

    The workers of pytest-xdist share one build in the temporary directory of the run. Tests must not change it.
    """
    if os.environ.get(site.ENVIRONMENT_VARIABLE) or site.is_installed():
        return site.prepare()
    return built_once(tmp_path_factory, "site", site.build)


@pytest.fixture(scope="session")
def tympan_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a Tympan site: $TYMPAN_URL, or else `tympan_site`, served for the session."""
    if named := os.environ.get(URL_VARIABLE):
        yield named.rstrip("/")
        return
    with serving(request.getfixturevalue("tympan_site")) as url:
        yield url


@pytest.fixture(scope="session")
def tympan_chromium() -> Path:
    """The path of the browser. Every fixture and test that starts a browser requests it, directly or indirectly."""
    return chromium.find()


@pytest.fixture(scope="session")
def tympan_browser(request: pytest.FixtureRequest, tympan_chromium: Path) -> Iterator[OpenBrowser]:
    """A function that returns a headless Chromium whose microphone plays a WAV file; one browser per file.

    Each time a page opens the microphone, it receives the file once from the start, then silence. Permission is granted
    without a prompt. Without a file there is no microphone.
    """
    browsers: dict[Path | None, Browser] = {}
    playwright = _running_playwright(request)

    def open_browser(microphone: str | os.PathLike[str] | None = None) -> Browser:
        wav = None if microphone is None else Path(microphone).resolve()
        if wav not in browsers:
            browsers[wav] = playwright.chromium.launch(executable_path=tympan_chromium, args=_flags(wav))
        return browsers[wav]

    yield open_browser
    for browser in browsers.values():
        browser.close()


@pytest.fixture
def tympan_page(tympan_url: str, tympan_browser: OpenBrowser) -> Iterator[OpenPage]:
    """A function that opens Tympan's page in a fresh profile and returns it when the model is loaded.

    microphone: as for `tympan_browser`. query: the query of the URL, such as "backend=numpy".
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


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return a folder that `build` writes once per run, in the temporary directory that the workers share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name
    with locked(shared / f"{name}.lock"):
        if not folder.exists():
            build(shared / f"{name}.new")
            (shared / f"{name}.new").rename(folder)
    return folder


def _running_playwright(request: pytest.FixtureRequest) -> Playwright:
    """The `playwright` fixture of the project, if it has one, because a process can run only one driver."""
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
