"""A headless browser with WebGPU in software, a page with Pyodide and the library, and the order of the tests."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tympan.cli.chromium import find
from tympan.cli.server import serving

pytest_plugins = ["tympan.cli.testing"]

BROWSER_FIXTURE = "tympan_chromium"  # every test that starts a browser depends on it
LONGEST_FILES = (  # those of a minute or more on two busy cores; the other files follow, browser tests first
    "app/test_lm_webgpu.py",
    "app/test_lm_webgpu_steps.py",
    "page/test_models.py",
    "page/test_errors.py",
    "shaders/test_attention.py",
    "page/test_listening.py",
    "page/test_speech_recognition.py",
    "page/test_author_pages.py",
    "page/test_transcribe.py",
    "page/test_backends.py",
    "page/test_language.py",
    "page/test_reading.py",
    "cli/test_golden.py",
    "cli/test_main.py",
    "release/test_release.py",
    "release/test_wheel.py",
)
HARNESS = Path(__file__).parent / "page"
WEBGPU_FLAGS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
QUIET_FLAGS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-browser", action="store_true", help="run only the tests that need no browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect browser tests with --no-browser; otherwise run the files that take longest first.

    Workers take whole files from the front of the list, so the short files at its end fill the gaps.
    """
    if config.getoption("--no-browser"):
        config.hook.pytest_deselected(items=[item for item in items if needs_browser(item)])
        items[:] = [item for item in items if not needs_browser(item)]
        return
    browser_files = {item.path for item in items if needs_browser(item)}
    items.sort(key=lambda item: (_rank(item.path), item.path not in browser_files))  # stable: keeps the order in a file


def needs_browser(item: pytest.Item) -> bool:
    """Whether a test starts a browser, judged by its fixtures."""
    return BROWSER_FIXTURE in getattr(item, "fixturenames", ())


def _rank(path: Path) -> int:
    """The position of a test file in LONGEST_FILES; their number for every other file."""
    name = path.relative_to(Path(__file__).parent).as_posix()
    return LONGEST_FILES.index(name) if name in LONGEST_FILES else len(LONGEST_FILES)


def chromium_options(*flags: str, webgpu: bool = True) -> dict[str, Any]:
    """The arguments of `BrowserType.launch` for a headless Chromium with WebGPU in software, or without WebGPU.

    flags: additional command-line arguments. Raises CommandError when there is no Chromium.
    """
    args = [*QUIET_FLAGS, *(WEBGPU_FLAGS if webgpu else ()), *flags]
    return {"executable_path": find(), "headless": True, "args": args}


@pytest.fixture(scope="session")
def playwright(tympan_chromium: Path) -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Headless Chromium whose WebGPU is SwiftShader."""
    browser = playwright.chromium.launch(**chromium_options())
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def site(tympan_site: Path) -> Iterator[str]:
    """The URL of the built site, with tests/page/ under /harness/."""
    with serving(tympan_site, mounts={"/harness/": HARNESS}) as url:
        yield url


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
def pyodide_page(chromium: Browser, site: str) -> Iterator[PyodidePage]:
    """A page with Pyodide, numpy and the package `tympan`, shared by the whole session."""
    page = chromium.new_page()
    page.goto(f"{site}/harness/harness.html")
    page.wait_for_function("window.call !== undefined")
    yield PyodidePage(page)
    page.close()
