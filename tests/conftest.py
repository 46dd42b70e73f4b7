"""A real headless browser with WebGPU on the CPU, and in it a page with Pyodide, numpy and the library."""

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

from cli.chromium import find
from cli.server import serving
from cli.site import build

pytest_plugins = ["cli.testing"]

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


def chromium_options(*flags: str, webgpu: bool = True) -> dict[str, Any]:
    """What `BrowserType.launch` takes to start this machine's Chromium, headless, with WebGPU on the CPU or none.

    flags: further ones. Raises CommandError on a machine without Chromium.
    """
    args = [*QUIET_FLAGS, *(WEBGPU_FLAGS if webgpu else ()), *flags]
    return {"executable_path": find(), "headless": True, "args": args}


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Headless Chromium whose WebGPU is SwiftShader."""
    browser = playwright.chromium.launch(**chromium_options())
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a freshly built site, with tests/page/ under /harness/."""
    dist = tmp_path_factory.mktemp("dist")
    build(dist)
    with serving(dist, mounts={"/harness/": HARNESS}) as url:
        yield url


@dataclass(frozen=True)
class PyodidePage:
    """A page that runs Python."""

    page: Page

    def run(self, source: str, **values: Any) -> Any:
        """Run Python in the page, in a namespace of its own.

        source: may await at top level and is dedented; the value of its last expression comes back.
        values: its global names. Values and result are whatever pickle carries: numbers, texts, arrays, containers.
        An exception in the page is raised here as playwright.sync_api.Error with the traceback as its text.
        """
        pickled = base64.b64encode(pickle.dumps(values)).decode()
        result = self.page.evaluate("([source, values]) => call(source, values)", [dedent(source), pickled])
        return pickle.loads(base64.b64decode(result))


@pytest.fixture(scope="session")
def pyodide_page(chromium: Browser, site: str) -> Iterator[PyodidePage]:
    """Pyodide with numpy and the package `tympan`, in one page for the whole session."""
    page = chromium.new_page()
    page.goto(f"{site}/harness/harness.html")
    page.wait_for_function("window.call !== undefined")
    yield PyodidePage(page)
    page.close()
