"""Chromium, through Playwright."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.engines.engine import PLAIN_HOST, Engine
from tympan.cli import chromium

WEBGPU_FLAGS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
QUIET_FLAGS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    chromium.DISABLE_FEATURES,
    "--process-per-site",  # pages of a context share the code that one has compiled
    f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1",
)
CLEAR_MS = 30_000  # workers of closed pages hold their files for a moment
NO_SITE_DATA = {"profile": {"default_content_setting_values": {"cookies": 2}}}


class Chromium(Engine):
    name = "chromium"
    shares_code = True

    def launch(self, *, webgpu: bool = True, microphone: Path | None = None, private: bool = False) -> Browser:
        """private: every context without a folder of its own is."""
        return self._playwright.chromium.launch(**_options(webgpu, microphone))

    def context_without_site_data(self, folder: Path) -> BrowserContext:
        (folder / "Default").mkdir()
        (folder / "Default" / "Preferences").write_text(json.dumps(NO_SITE_DATA))
        return self._playwright.chromium.launch_persistent_context(folder, **_options())

    def clear_site_data(self, page: Page) -> None:
        session = page.context.new_cdp_session(page)
        deadline = time.monotonic() + CLEAR_MS / 1000
        while True:
            session.send("Storage.clearDataForOrigin", {"origin": page.evaluate("origin"), "storageTypes": "all"})
            n_bytes = page.evaluate("navigator.storage.estimate().then(({ usage }) => usage)")
            if not n_bytes:
                break
            assert time.monotonic() < deadline, f"{n_bytes} bytes remain"
            page.wait_for_timeout(50)
        session.detach()

    def download(self, page: Page, start: Callable[[], None]) -> Path:
        with page.expect_download() as download:
            start()
        path = Path(download.value.path())
        return path.rename(path.with_name(download.value.suggested_filename))


def _options(webgpu: bool = True, microphone: Path | None = None) -> dict[str, Any]:
    """The arguments of `BrowserType.launch`."""
    args = [*QUIET_FLAGS, *(WEBGPU_FLAGS if webgpu else ())]
    if microphone is not None:
        args += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    return {"executable_path": chromium.find(), "headless": True, "args": args}
