"""The page says which of Mimi's kernels run, and can be told to do with less."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.page.tympan_page import TympanPage


@pytest.mark.parametrize(
    ("query", "level", "shown"), [("", "relaxed", "relaxed SIMD"), ("?simd=numpy", "numpy", "NumPy")]
)
def test_simd_level_of_mimi_is_shown(browser: Browser, site: str, query: str, level: str, shown: str) -> None:
    tympan = TympanPage.open(browser, f"{site}/{query}")
    assert tympan.page.evaluate("tympan.ready")["simd"] == level
    assert f"Mimi on {shown}" in tympan.page.inner_text("#model")
    tympan.close()


def test_unknown_simd_level_is_rejected(browser: Browser, site: str) -> None:
    tympan = TympanPage.open(browser, f"{site}/?simd=sse2")
    assert tympan.state == "error"
    assert "auto, relaxed, simd, numpy" in tympan.error
    tympan.close()
