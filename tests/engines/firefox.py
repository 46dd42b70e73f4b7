"""Firefox, through Playwright and WebDriver BiDi; its sound through PulseAudio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext

from tests.engines.engine import Engine
from tests.engines.pulse import Pulse
from tympan.cli import firefox

QUIET = {
    "app.normandy.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
GRANTED = {
    "media.navigator.permission.disabled": True,  # the microphone, without a prompt
    "dom.events.testing.asyncClipboard": True,  # the clipboard, without a prompt
}
NO_SITE_DATA = {"network.cookie.cookieBehavior": 2}


class Firefox(Engine):
    name = "firefox"

    def launch(self, *, webgpu: bool = True, microphone: Path | None = None) -> Browser:
        # Without any audio device, Firefox's audio contexts do not start, so each browser has a sound server.
        pulse = Pulse(microphone)
        preferences = GRANTED if microphone is not None else {}
        browser = self._playwright.firefox.launch(**_options(pulse, webgpu, preferences))
        browser.on("disconnected", lambda _: pulse.stop())
        return browser

    def context_without_site_data(self, folder: Path) -> BrowserContext:
        pulse = Pulse(None)
        browser = self._playwright.firefox.launch(**_options(pulse, True, NO_SITE_DATA))
        context = browser.new_context()
        context.on("close", lambda _: browser.close())
        browser.on("disconnected", lambda _: pulse.stop())
        return context


def _options(pulse: Pulse, webgpu: bool, preferences: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `BrowserType.launch`."""
    return {
        "channel": firefox.CHANNEL,
        "executable_path": firefox.find(),
        "headless": True,
        "env": {**os.environ, **pulse.environment},
        "firefox_user_prefs": {**firefox.preferences(webgpu=webgpu), **QUIET, **preferences},
    }
