"""Drives Tympan's page in tests, through its elements and through `window.tympan`."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, FilePayload, Page, Request, Route, TimeoutError

BOOT_MS = 400_000  # Pyodide starts slowly on a busy machine, and slowest in WebKit
TRANSCRIBE_MS = 400_000

# Records every microphone track that the page gets in `window.tracks`, live or ended.
KEEP_TRACKS = """
    window.tracks = [];
    const ask = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (wanted) {
        const stream = await ask.call(this, wanted);
        tracks.push(...stream.getTracks());
        return stream;
    };
"""

# Calls the engine's `captions`, by which a test that has changed it gets an answer from the engine.
CAPTIONS = "import('./bridge/page.js').then(({ captions }) => captions('[]', 'vtt'))"


def change_engine(context: BrowserContext, before: str = "", after: str = "") -> None:
    """Add Python source before and after that of app/engine.py in every page of the context."""

    def change(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=before + response.text() + after)

    context.route("**/app/engine.py", change)


@dataclass
class TympanPage:
    """An open page of the site, and the URL of every request it made."""

    page: Page
    requests: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, context: BrowserContext, url: str) -> TympanPage:
        """Open a URL and wait until a model is loaded or an error is shown."""
        opened = cls(context.new_page())
        opened.page.on("request", lambda request: opened._record(request))
        opened.page.goto(url)
        opened.wait_for("ready", "error", timeout_ms=BOOT_MS)
        return opened

    def _record(self, request: Request) -> None:
        self.requests.append(request.url)

    @property
    def state(self) -> str:
        return str(self.page.evaluate("document.documentElement.dataset.state"))

    @property
    def transcript(self) -> str:
        return self.page.inner_text("#transcript").strip()

    @property
    def error(self) -> str:
        return self.page.inner_text("#error").strip()

    # These wait by selector: `Page.wait_for_function` needs `eval`, which the page's policy forbids.

    def wait_for(self, *states: str, timeout_ms: float = TRANSCRIBE_MS) -> None:
        """Wait until the page is in one of these states (`data-state` of the root element)."""
        selector = ", ".join(f"html[data-state={state}]" for state in states)
        try:
            self.page.wait_for_selector(selector, state="attached", timeout=timeout_ms)
        except TimeoutError as error:
            status = self.page.inner_text("#status")
            raise AssertionError(f"{self.state}: {status!r}, error {self.error!r}, not {states}") from error

    def wait_for_words(self, n_words: int, timeout_ms: float = TRANSCRIBE_MS) -> None:
        """Wait until the transcript shows at least `n_words` words."""
        self.page.locator("#transcript .word").nth(n_words - 1).wait_for(state="attached", timeout=timeout_ms)

    def wait_for_text(self, text: str, timeout_ms: float = TRANSCRIBE_MS) -> None:
        """Wait until the transcript contains `text`, ignoring case."""
        self.page.wait_for_selector(f"#transcript:has-text('{text}')", state="attached", timeout=timeout_ms)

    def choose(self, name: str, content: bytes) -> None:
        """Choose a file with this name and content through #file and wait until it is transcribed."""
        self._choose({"name": name, "mimeType": "application/octet-stream", "buffer": content})

    def choose_file(self, path: Path) -> None:
        """Choose a file on disk, so that the browser sets its MIME type, and wait until it is transcribed."""
        self._choose(path)

    def _choose(self, file: FilePayload | Path) -> None:
        self.page.evaluate(
            """() => {
                window.begun = new Promise((resolve) => {
                    const observer = new MutationObserver(() => { resolve(); observer.disconnect(); });
                    observer.observe(document.documentElement, {attributeFilter: ["data-state"]});
                });
            }"""
        )
        self.page.set_input_files("#file", file)
        self.page.evaluate("begun")
        self.wait_for("ready", "error")

    def transcribe(self, content: bytes) -> dict[str, Any]:
        """Call window.tympan.transcribe with a Blob. Raises Playwright's Error with the page's message."""
        encoded = base64.b64encode(content).decode()  # Playwright takes seconds for a list of a million numbers
        return dict(
            self.page.evaluate(
                """(encoded) => {
                    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
                    return tympan.transcribe(new Blob([bytes]));
                }""",
                encoded,
            )
        )

    def close(self) -> None:
        self.page.close()
