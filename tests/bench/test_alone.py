"""Pages that measure on their own, in browsers that are played by a line of Python."""

from __future__ import annotations

import shlex
import sys

import pytest

from bench.alone import measure_alone
from cli.errors import CommandError


def browser(posted: str) -> str:
    """A command that posts this to the server of the page it is given."""
    site = "sys.argv[1].split('/bench/')[0]"
    source = f"import sys, urllib.request as r; r.urlopen({site} + '/result', sys.argv[2].encode())"
    return shlex.join([sys.executable, "-c", source, "{url}", posted])


def test_what_the_page_posts_is_the_result() -> None:
    posted = '{"value": [1, 2], "browser": "Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/156.0 Safari/537.36"}'
    measured = measure_alone(["script"], "measure", {}, browser=browser(posted))
    assert (measured.value, measured.browser) == ([1, 2], "HeadlessChrome/156.0")


def test_what_fails_in_the_page_is_told() -> None:
    with pytest.raises(CommandError, match="it has no adapter"):
        measure_alone(["script"], "measure", {}, browser=browser('{"error": "it has no adapter"}'))


def test_a_page_that_stays_silent_is_not_waited_for_for_ever() -> None:
    with pytest.raises(CommandError, match="no result"):
        measure_alone(["script"], "measure", {}, browser=shlex.join([sys.executable, "-c", ""]), timeout_s=0.5)
