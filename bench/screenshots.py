"""Takes the screenshots of the documents: python -m bench.screenshots [FOLDER], by default docs/.

page.png is a desktop in English, phone.png a phone in French and dark, both after the sample was transcribed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tympan.cli.browser import opened
from tympan.cli.server import serving
from tympan.cli.site import ROOT, prepare

TIMEOUT_MS = 120_000

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "color_scheme": "light"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "locale": "fr-FR",
    "color_scheme": "dark",
}
SCREENSHOTS = {"page.png": DESKTOP, "phone.png": PHONE}


def take(browser: Browser, url: str, options: dict[str, Any], path: Path) -> None:
    """Transcribe the sample in a fresh profile and write a PNG of what the window shows."""
    context = browser.new_context(**options, service_workers="block")
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.wait_for_selector("html[data-state=ready]", state="attached")
    page.click("#sample")
    page.wait_for_selector("html[data-state=transcribing]", state="attached")
    page.wait_for_selector("html[data-state=ready]", state="attached")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    context.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    with serving(prepare()) as url, opened(f"{url}/files.js") as page:
        browser = page.context.browser
        assert browser is not None
        for name, options in SCREENSHOTS.items():
            take(browser, url, options, folder / name)


if __name__ == "__main__":
    main()
