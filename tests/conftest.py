"""A headless browser with WebGPU in software, a page with Pyodide and the library, and the order of the tests."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.engines.chromium import Chromium
from tests.engines.engine import Engine
from tests.engines.firefox import Firefox
from tests.engines.lacks import lacks
from tests.engines.webkit import WebKit
from tests.page.tympan_page import BOOT_MS
from tympan.cli.server import serving

if TYPE_CHECKING:
    from tympan.cli.testing import OpenBrowser  # which pytest has to import itself, as a plugin

pytest_plugins = ["tympan.cli.testing"]

# Every test that starts a browser depends on one of them: on the first if it runs in the engine of --engine.
BROWSER_FIXTURES = ("engine", "tympan_chromium")
LONGEST_FILES = (  # those of 20 s or more on two busy cores; the other files follow, browser tests first
    "page/test_errors.py",
    "app/test_lm_webgpu.py",
    "page/test_models.py",
    "page/test_offline.py",
    "page/test_device_loss.py",
    "page/test_backends.py",
    "app/test_lm_webgpu_steps.py",
    "page/test_listening.py",
    "app/test_lm_selfcheck.py",
    "app/test_mimi_webgpu.py",
    "page/test_author_pages.py",
    "page/test_transcribe.py",
    "cli/test_golden.py",
    "page/test_phones.py",
    "page/test_reading.py",
    "page/test_mimi_webgpu.py",
    "page/test_speech_recognition.py",
    "shaders/test_attention.py",
    "page/test_microphone.py",
    "shaders/test_mimi.py",
    "release/test_npm.py",
    "cli/test_verify.py",
    "cli/test_main.py",
    "release/test_pyodide.py",
    "wasm/test_levels.py",
    "shaders/test_matrices.py",
    "release/test_wheel.py",
    "app/test_cost_per_frame.py",
    "release/test_release.py",
)
EXPECT_MS = 30_000  # the default of 5 s is too short on a busy machine
HARNESS = Path(__file__).parent / "page"
ENGINES: dict[str, type[Engine]] = {kind.name: kind for kind in (Chromium, Firefox, WebKit)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-browser", action="store_true", help="run only the tests that need no browser")
    parser.addoption(
        "--engine",
        choices=ENGINES,
        help="run only the tests of the page and of the GPU, in this browser engine (default: all tests, in chromium)",
    )


def pytest_configure(config: pytest.Config) -> None:
    expect.set_options(timeout=EXPECT_MS)
    config.addinivalue_line(
        "markers", "needs(feature): left out in engines without a feature of tests/engines/lacks.py"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that --no-browser or --engine excludes, and run the files that take longest first.

    Workers take whole files from the front of the list, so the short files at its end fill the gaps.
    """
    engine = config.getoption("--engine")
    if config.getoption("--no-browser"):
        _keep(config, items, lambda item: not needs_browser(item))
    elif engine:
        _keep(config, items, lambda item: _runs_in(item, engine))
    browser_files = {item.path for item in items if needs_browser(item)}
    items.sort(key=lambda item: (_rank(item.path), item.path not in browser_files))  # stable: keeps the order in a file


def needs_browser(item: pytest.Item) -> bool:
    """Whether a test starts a browser, judged by its fixtures."""
    return any(name in getattr(item, "fixturenames", ()) for name in BROWSER_FIXTURES)


def _runs_in(item: pytest.Item, engine: str) -> bool:
    """Whether a test is to run in an engine: it starts a browser, and needs nothing that the engine lacks."""
    needed = [feature for mark in item.iter_markers("needs") for feature in mark.args]
    return "engine" in getattr(item, "fixturenames", ()) and not lacks(engine, needed)


def _keep(config: pytest.Config, items: list[pytest.Item], is_kept: Callable[[pytest.Item], bool]) -> None:
    """Deselect the other tests."""
    config.hook.pytest_deselected(items=[item for item in items if not is_kept(item)])
    items[:] = [item for item in items if is_kept(item)]


def _rank(path: Path) -> int:
    """The position of a test file in LONGEST_FILES; their number for every other file."""
    name = path.relative_to(Path(__file__).parent).as_posix()
    return LONGEST_FILES.index(name) if name in LONGEST_FILES else len(LONGEST_FILES)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, playwright: Playwright) -> Iterator[Engine]:
    """The browser engine that --engine names, or Chromium."""
    engine = ENGINES[request.config.getoption("--engine") or Chromium.name](playwright)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def browser(engine: Engine) -> Iterator[Browser]:
    """A headless browser whose WebGPU is in software."""
    browser = engine.launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def tympan_browser(engine: Engine, tympan_browser: OpenBrowser) -> Iterator[OpenBrowser]:
    """That of tympan.cli.testing in Chromium, and the same in another engine."""
    if engine.name == Chromium.name:
        yield tympan_browser
        return
    browsers: dict[Path | None, Browser] = {}

    def open_browser(microphone: str | os.PathLike[str] | None = None) -> Browser:
        wav = None if microphone is None else Path(microphone).resolve()
        if wav not in browsers:
            browsers[wav] = engine.launch(microphone=wav)
        return browsers[wav]

    yield open_browser
    for browser in browsers.values():
        browser.close()


@pytest.fixture(scope="session")
def site(tympan_site: Path) -> Iterator[str]:
    """The URL of the built site, with tests/page/ under /harness/."""
    with serving(tympan_site, mounts={"/harness/": HARNESS}) as url:
        yield url


@pytest.fixture
def context(request: pytest.FixtureRequest, engine: Engine, browser: Browser) -> Iterator[BrowserContext]:
    """A context in which no site has stored data, without service workers. Its pages are closed after the test.

    Where pages share compiled code, it is that of `pyodide_page`, so that a page starts in half the time.
    """
    yield from _empty_context(request, engine, browser)


@pytest.fixture(scope="module")
def module_context(request: pytest.FixtureRequest, engine: Engine, browser: Browser) -> Iterator[BrowserContext]:
    """The same for all tests of a module, which then cannot use `context`."""
    yield from _empty_context(request, engine, browser)


def _empty_context(request: pytest.FixtureRequest, engine: Engine, browser: Browser) -> Iterator[BrowserContext]:
    if not engine.shares_code:
        context = browser.new_context(service_workers="block")
        yield context
        context.close()
        return
    kept: Page = request.getfixturevalue("pyodide_page").page
    yield kept.context
    for page in kept.context.pages:
        if page != kept:
            page.close()
    kept.context.unroute_all()
    kept.context.clear_permissions()
    engine.clear_site_data(kept)


@dataclass(frozen=True)
class PyodidePage:
    """A page that runs Python in Pyodide."""

    page: Page

    def run(self, source: str, **values: Any) -> Any:
        """Run Python source in the page, in a new namespace, and return the value of its last expression.

        source: dedented before it runs; may use top-level await.
        values: global variables of the source. Values and result can be anything that pickle supports.

        An exception in the page is raised as playwright.sync_api.Error with the traceback as its message.
        """
        pickled = base64.b64encode(pickle.dumps(values)).decode()
        result = self.page.evaluate("([source, values]) => call(source, values)", [dedent(source), pickled])
        return pickle.loads(base64.b64decode(result))


@pytest.fixture(scope="session")
def pyodide_page(browser: Browser, site: str) -> Iterator[PyodidePage]:
    """A page with Pyodide, numpy and the package `tympan`, shared by the whole session."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(f"{site}/harness/harness.html")
    page.wait_for_function("window.call !== undefined", timeout=BOOT_MS)
    yield PyodidePage(page)
    page.close()
