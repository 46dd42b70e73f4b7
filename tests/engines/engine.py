"""What the tests of the page ask of a browser engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

PLAIN_HOST = "plain.test"  # is this machine, but no secure context, unlike localhost


class Engine(ABC):
    """A browser engine. Every browser that it launches is headless, with an empty profile."""

    name: ClassVar[str]
    simd: ClassVar[str] = "relaxed"  # the fastest level of Mimi's kernels
    shares_code: ClassVar[bool] = False  # whether pages of a context share the WebAssembly that one has compiled

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright

    @abstractmethod
    def launch(self, *, webgpu: bool = True, microphone: Path | None = None, private: bool = False) -> Browser:
        """Start a browser.

        webgpu: offer WebGPU, in software, or none. microphone: a WAV file that plays once each time a page opens the
        microphone, then silence; permission is granted without a prompt. None for a browser without a microphone.
        private: open private windows.

        Raises CommandError when the browser, or what the microphone needs, is not installed.
        """

    @abstractmethod
    def context_without_site_data(self, folder: Path) -> BrowserContext:
        """A context in which no site may store data, as in the browser's settings. folder: empty, for its profile."""

    @abstractmethod
    def download(self, page: Page, start: Callable[[], None]) -> Path:
        """Return the file that the page saves when `start` is called, under its own name."""

    def clear_site_data(self, page: Page) -> None:  # noqa: B027 - only where pages share code
        """Delete all that sites have stored in the context of a page; its other pages are closed."""

    def close(self) -> None:  # noqa: B027 - most engines keep nothing
        """Remove what the engine keeps on disk."""
