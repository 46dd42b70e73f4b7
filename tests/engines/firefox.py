"""Firefox, through Playwright and WebDriver BiDi; its sound through PulseAudio."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests.engines.engine import PLAIN_HOST, Engine
from tests.engines.pulse import Pulse
from tympan.cli import firefox

QUIET = {
    "app.normandy.enabled": False,
    "browser.download.alwaysOpenPanel": False,  # which takes the focus from the page
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.localDomains": PLAIN_HOST,
}
GRANTED = {
    "media.navigator.permission.disabled": True,  # the microphone, without a prompt
    "dom.events.testing.asyncClipboard": True,  # the clipboard, without a prompt
}
DENIED = {"permissions.default.microphone": 2}  # without a prompt, which nobody answers
PRIVATE = {"browser.privatebrowsing.autostart": True}
NO_SITE_DATA = {"network.cookie.cookieBehavior": 2}
DOWNLOAD_S = 30
LAUNCH_MS = 600_000  # on a busy machine


class Firefox(Engine):
    name = "firefox"

    def __init__(self, playwright: Playwright) -> None:
        super().__init__(playwright)
        self._downloads = tempfile.TemporaryDirectory(prefix="tympan-downloads-")

    def launch(self, *, webgpu: bool = True, microphone: Path | None = None, private: bool = False) -> Browser:
        # Without any audio device, Firefox's audio contexts do not start, so each browser has a sound server.
        pulse = Pulse(microphone)
        preferences = (GRANTED if microphone is not None else DENIED) | (PRIVATE if private else {})
        browser = self._playwright.firefox.launch(**self._options(pulse, webgpu, preferences))
        browser.on("disconnected", lambda _: pulse.stop())
        return browser

    def context_without_site_data(self, folder: Path) -> BrowserContext:
        pulse = Pulse(None)
        browser = self._playwright.firefox.launch(**self._options(pulse, True, NO_SITE_DATA))
        context = browser.new_context()
        context.on("close", lambda _: browser.close())
        browser.on("disconnected", lambda _: pulse.stop())
        return context

    def download(self, page: Page, start: Callable[[], None]) -> Path:
        """Wait for the file: Playwright ignores Firefox's events of downloads, which have no `download` yet."""
        folder = Path(self._downloads.name)
        before = set(folder.iterdir())
        start()
        deadline = time.monotonic() + DOWNLOAD_S
        while time.monotonic() < deadline:
            new = set(folder.iterdir()) - before
            if new and not any(path.suffix == ".part" or not path.stat().st_size for path in new):
                (path,) = new
                return path
            page.wait_for_timeout(50)
        raise AssertionError(f"no file was saved in {DOWNLOAD_S} s")

    def close(self) -> None:
        self._downloads.cleanup()

    def _options(self, pulse: Pulse, webgpu: bool, preferences: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `BrowserType.launch`."""
        return {
            "channel": firefox.CHANNEL,
            "executable_path": firefox.find(),
            "headless": True,
            "timeout": LAUNCH_MS,
            "downloads_path": self._downloads.name,
            "env": {**os.environ, **pulse.environment},
            "firefox_user_prefs": {**firefox.preferences(webgpu=webgpu), **QUIET, **preferences},
        }
