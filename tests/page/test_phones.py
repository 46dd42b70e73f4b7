"""Phones, emulated: their screens, touch, and the memory that a page has there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Playwright, expect

from tests.page.tympan_page import BOOT_MS, TympanPage, change_engine

pytestmark = pytest.mark.needs("playwright", "touch")

REAL_MODEL = "stt-1b-en_fr"
HAS_8_GB = """
from js import Object, navigator
from pyodide.ffi import to_js

Object.defineProperty(navigator, "deviceMemory", Object.fromEntries(to_js([["value", 8]])))
"""
# The height of every control in view.
CONTROLS = """
    () => [...document.querySelectorAll("button, summary, input[type=text], input[type=url]")]
        .filter((control) => control.checkVisibility())
        .map((control) => [control.id || control.className, control.getBoundingClientRect().height])
"""


@pytest.mark.parametrize(("phone", "fits"), [("iPhone 15", False), ("Pixel 7", True)])
def test_page_works_by_touch_and_refuses_what_does_not_fit(
    playwright: Playwright, browser: Browser, site: str, phone: str, fits: bool
) -> None:
    """fits: whether the real model does. Safari does not tell the memory of the device, and ends large tabs."""
    context = browser.new_context(**playwright.devices[phone], service_workers="block")
    change_engine(context, before=HAS_8_GB)
    tympan = TympanPage(context.new_page())
    page = tympan.page
    page.on("request", lambda request: tympan.requests.append(request.url))
    page.goto(f"{site}/?backend=simd&model={REAL_MODEL}")
    if fits:
        expect(page.locator("#download")).to_be_visible(timeout=BOOT_MS)
        page.goto(f"{site}/?backend=simd")
    else:
        tympan.wait_for("error", timeout_ms=BOOT_MS)
        assert "This model is too large for this device: it needs about 0.9 GB of memory" in tympan.error
        page.tap("#error a")
    assert [url for url in tympan.requests if not url.startswith((site, "blob:", "data:"))] == []

    tympan.wait_for("ready", timeout_ms=BOOT_MS)
    page.tap("#sample")
    expect(page.locator("#session-list li")).to_have_count(1, timeout=BOOT_MS)
    assert "kitchen" in tympan.transcript
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    page.locator(".word").nth(3).tap()
    page.wait_for_selector(".word.playing")
    page.tap("#panel summary")
    expect(page.locator("#figures dt").first).to_be_visible()
    assert [name for name, height in page.evaluate(CONTROLS) if height < 24] == [], "WCAG 2.5.8"
    context.close()
