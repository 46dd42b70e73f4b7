"""Runs a measurement in a page that posts its result, so no browser driver is needed.

A GPU machine then needs only Python, the built site, and a browser that starts from a command line.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.parse import quote

from tympan.cli import chromium
from tympan.cli.errors import CommandError
from tympan.cli.server import serving
from tympan.cli.site import DIST

FOLDER = Path(__file__).parent
PAGE = "/bench/alone.html"


@dataclass(frozen=True)
class Measured:
    """The result of a page."""

    value: Any
    browser: str  # name and version


def measure_alone(
    modules: Sequence[str],
    call: str,
    values: dict[str, Any],
    *,
    site: Path = DIST,
    browser: str = "",
    timeout_s: float = 600,
    mounts: Mapping[str, Path] | None = None,
) -> Measured:
    """Open the page in a browser and wait for the result that it posts.

    modules: modules of this folder for the page to import. The last one has the coroutine function `call`, which
    receives `values` as keyword arguments and returns a JSON value. site: a built site. browser: a command that
    contains {url}; by default the installed Chromium.
    mounts: further folders, by their path in the URL. Output of the page goes to stderr. Raises CommandError when the
    page fails or posts nothing within `timeout_s`.
    """
    posts: Queue[bytes] = Queue()

    def on_post(path: str, body: bytes) -> None:
        if path == "/result":
            posts.put(body)
        else:
            print(body.decode(), file=sys.stderr)

    task = quote(json.dumps({"modules": list(modules), "call": call, "values": values}))
    mounts = {"/bench/": FOLDER, **(mounts or {})}
    with tempfile.TemporaryDirectory() as profile, serving(site, mounts=mounts, on_post=on_post) as url:
        process = subprocess.Popen(
            _command(browser, f"{url}{PAGE}#{task}", profile),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            posted = json.loads(posts.get(timeout=timeout_s))
        except Empty:
            raise CommandError(f"The page posted no result in {timeout_s:.0f} s.") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    if "error" in posted:
        raise CommandError(f"The measurement failed: {posted['error']}")
    return Measured(posted["value"], _name(posted["browser"]))


def _command(browser: str, url: str, profile: str) -> list[str]:
    if browser:
        return [part.replace("{url}", url) for part in shlex.split(browser)]
    return [str(chromium.find()), *chromium.flags(), "--headless", f"--user-data-dir={profile}", url]


def _name(user_agent: str) -> str:
    """The product and version in a user agent string, such as `HeadlessChrome/156.0.0.0`."""
    return next((part for part in user_agent.split() if "Chrome/" in part or "Firefox/" in part), user_agent)
