"""Opens a page in a headless Chromium, through Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Error, Page, sync_playwright

from cli import chromium
from cli.errors import CommandError


@contextmanager
def opened(url: str, *, keeps_site: bool = False) -> Iterator[Page]:
    """Open `url` for the length of the `with` block, and yield its page.

    keeps_site: whether the page may keep the site for visits without a network, which takes time after the first one.
    Whatever Playwright raises inside the block leaves it as CommandError, as do a missing browser and a browser
    that does not start.
    """
    program = chromium.find()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=chromium.flags())
            try:
                context = browser.new_context(service_workers="allow" if keeps_site else "block")
                page = context.new_page()
                page.goto(url)
                yield page
            finally:
                browser.close()
    except Error as error:
        raise CommandError(f"{program} failed: {_first_line(error)}") from error


def _first_line(error: Error) -> str:
    """What happened, without the call and the log that Playwright wraps it in."""
    return error.message.strip().splitlines()[0].removeprefix("Page.evaluate: ")
