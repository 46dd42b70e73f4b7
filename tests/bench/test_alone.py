"""Measurements in pages that post their result. A one-line Python program replaces the browser."""

from __future__ import annotations

import shlex
import sys

import pytest

from bench.alone import measure_alone
from cli.errors import CommandError


def browser(posted: str) -> str:
    """A browser command that posts `posted` to the server of its page."""
    site = "sys.argv[1].split('/bench/')[0]"
    source = f"import sys, urllib.request as r; r.urlopen({site} + '/result', sys.argv[2].encode())"
    return shlex.join([sys.executable, "-c", source, "{url}", posted])


def test_posted_json_is_the_result() -> None:
    posted = '{"value": [1, 2], "browser": "Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/156.0 Safari/537.36"}'
    measured = measure_alone(["script"], "measure", {}, browser=browser(posted))
    assert (measured.value, measured.browser) == ([1, 2], "HeadlessChrome/156.0")


def test_an_error_in_the_page_is_raised() -> None:
    with pytest.raises(CommandError, match="it has no adapter"):
        measure_alone(["script"], "measure", {}, browser=browser('{"error": "it has no adapter"}'))


def test_a_page_that_posts_nothing_times_out() -> None:
    with pytest.raises(CommandError, match="no result"):
        measure_alone(["script"], "measure", {}, browser=shlex.join([sys.executable, "-c", ""]), timeout_s=0.5)
