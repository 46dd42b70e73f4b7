"""The table of what engines lack is true, and the same as in docs/browsers.md."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.engines.chromium import Chromium
from tests.engines.engine import Engine
from tests.engines.lacks import LACKS

DOCUMENT = Path(__file__).parents[2] / "docs" / "browsers.md"


def test_engine_lacks_what_the_table_says_and_chromium_lacks_nothing(
    engine: Engine, browser: Browser, site: str
) -> None:
    page = browser.new_page()
    page.goto(f"{site}/models/catalogue.json")
    for lack in LACKS:
        if engine.name in (lack.engine, Chromium.name):
            assert lack.is_there(page) == (engine.name == Chromium.name), lack.feature
    page.close()


def test_document_has_the_table() -> None:
    rows = [f"| {lack.engine.capitalize()} | {lack.feature} | {lack.reason} |" for lack in LACKS]
    assert [line for line in DOCUMENT.read_text("utf-8").splitlines() if line in rows] == rows
