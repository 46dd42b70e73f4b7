"""Opens a page in a headless Chromium through Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Error, Page, sync_playwright

from cli import chromium
from cli.errors import CommandError


@contextmanager
def opened(url: str, *, keeps_site: bool = False) -> Iterator[Page]:
    """Open `url` in a headless browser, yield its page and close the browser after the `with` block.

    keeps_site: allow service workers, so that the page caches the site for offline use. That takes time after the
    first visit.

    Raises CommandError when there is no browser, when it does not start, and for every Playwright error inside the
    block.
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


def version_of(page: Page) -> str:
    """The name and version of the page's browser, such as "chromium 156.0.1"."""
    browser = page.context.browser
    assert browser is not None
    return f"{browser.browser_type.name} {browser.version}"


def _first_line(error: Error) -> str:
    """The message without the name of the call and the log that Playwright adds."""
    return error.message.strip().splitlines()[0].removeprefix("Page.evaluate: ")
