"""The page's vocabulary, the silence that ends a turn, and doubtful words."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.page.tympan_page import BOOT_MS, TympanPage
from tympan.cli.testing import OpenBrowser

pytestmark = pytest.mark.needs("playwright")


def test_settings_are_kept_and_reach_the_engine(tympan_browser: OpenBrowser, tympan_url: str) -> None:
    context = tympan_browser().new_context(service_workers="block")
    tympan = TympanPage.open(context, f"{tympan_url}/?backend=simd&terms=Kyutai,Zachary:2")
    page = tympan.page
    page.click("#more summary")
    page.fill("#terms", "Abernathy")
    page.evaluate("document.getElementById('silence').value = 2; silence.dispatchEvent(new Event('input'))")
    page.set_input_files("#terms-file", {"name": "names.txt", "mimeType": "text/plain", "buffer": b"Oberon: 3"})
    expect(page.locator("#terms")).to_have_value(re.compile("Oberon"))

    words = page.evaluate("tympan.transcribe('sample.wav').then(({ words }) => words)")
    assert all(0 < word["confidence"] < 1 for word in words)
    assert page.locator("#transcript .word").count() == len(words)

    page.evaluate("document.getElementById('doubt-level').value = 0.9")
    page.evaluate("document.getElementById('doubt-level').dispatchEvent(new Event('input'))")
    n_doubtful = sum(word["confidence"] < 0.9 for word in words)
    assert page.locator("#transcript .word.doubtful").count() == n_doubtful
    page.uncheck("#dim-doubtful")
    assert page.locator("#transcript .word.doubtful").count() == 0

    page.reload()
    page.wait_for_selector("html[data-state=ready]", timeout=BOOT_MS)
    assert page.input_value("#terms") == "Abernathy\nOberon: 3"
    assert page.input_value("#silence") == "2"
    assert not page.is_checked("#dim-doubtful")
