"""Opens a page in a headless browser through Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

from tympan.cli import chromium, firefox
from tympan.cli.errors import CommandError

LAUNCH_MS = 600_000  # a browser starts slowly on a busy machine


@contextmanager
def opened(
    url: str, *, browser: str = "chromium", keeps_site: bool = False, profile: Path | None = None
) -> Iterator[Page]:
    """Open `url` in a headless browser, yield its page and close the browser after the `with` block.

    browser: one of `benchmarks.BROWSERS`; "chromium" is Chromium, Chrome or Edge. keeps_site: allow service workers, so
    that the page caches the site for offline use. That takes time after the first visit. profile: a folder in which
    Chromium stores the data of sites, as in a normal window; without it, the window is private and they are in memory.

    Raises CommandError when there is no browser, when it does not start, and for every Playwright error inside the
    block.
    """
    program = firefox.find() if browser == "firefox" else chromium.find("" if browser == "chromium" else browser)
    try:
        with sync_playwright() as playwright:
            workers: Literal["allow", "block"] = "allow" if keeps_site else "block"
            launched: Browser | BrowserContext
            if profile is not None:
                launched = context = _launched_with(playwright, program, profile, workers)
            else:
                launched = _launched(playwright, program, is_firefox=browser == "firefox")
                context = launched.new_context(service_workers=workers)
            try:
                page = context.new_page()
                page.goto(url, timeout=LAUNCH_MS)
                yield page
            finally:
                launched.close()
    except Error as error:
        raise CommandError(f"{program} failed: {_first_line(error)}") from error


def _launched(playwright: Playwright, program: Path, is_firefox: bool) -> Browser:
    if is_firefox:
        preferences = firefox.preferences()
        return playwright.firefox.launch(
            channel=firefox.CHANNEL, executable_path=program, firefox_user_prefs=preferences, timeout=LAUNCH_MS
        )
    return playwright.chromium.launch(executable_path=program, args=chromium.flags(), timeout=LAUNCH_MS)


def _launched_with(
    playwright: Playwright, program: Path, profile: Path, workers: Literal["allow", "block"]
) -> BrowserContext:
    return playwright.chromium.launch_persistent_context(
        profile, executable_path=program, args=chromium.flags(), timeout=LAUNCH_MS, service_workers=workers
    )


def version_of(page: Page) -> str:
    """The name and version of the page's browser, such as "chromium 156.0.1"."""
    browser = page.context.browser
    assert browser is not None
    name = "firefox" if browser.browser_type.name.endswith("firefox") else browser.browser_type.name
    return f"{name} {browser.version}"


def _first_line(error: Error) -> str:
    """The message without the name of the call and the log that Playwright adds."""
    return error.message.strip().splitlines()[0].removeprefix("Page.evaluate: ")
