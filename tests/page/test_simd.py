"""The page says which of Mimi's kernels run, and can be told to do with less."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from tests.engines.engine import Engine
from tests.page.tympan_page import TympanPage

SHOWN = {"relaxed": "relaxed SIMD", "simd": "SIMD", "numpy": "NumPy"}


@pytest.mark.parametrize("level", ["", "simd", "numpy"])
def test_simd_level_of_mimi_is_shown(engine: Engine, context: BrowserContext, site: str, level: str) -> None:
    query, level = f"?simd={level}" if level else "", level or engine.simd
    tympan = TympanPage.open(context, f"{site}/{query}")
    assert tympan.page.evaluate("tympan.ready")["simd"] == level
    assert f"Mimi on {SHOWN[level]}" in tympan.page.inner_text("#model")


def test_unknown_simd_level_is_rejected(context: BrowserContext, site: str) -> None:
    tympan = TympanPage.open(context, f"{site}/?simd=sse2")
    assert tympan.state == "error"
    assert "auto, relaxed, simd, numpy" in tympan.error
