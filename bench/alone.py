"""A page that measures on its own and posts its result: any browser will do, and nothing drives it.

So a machine with a GPU needs Python, a browser that starts from a command, and the built site, and no registry.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.parse import quote

from cli import chromium
from cli.errors import CommandError
from cli.server import serving
from cli.site import DIST

FOLDER = Path(__file__).parent
PAGE = "/bench/alone.html"


@dataclass(frozen=True)
class Measured:
    """What a page posted."""

    value: Any
    browser: str  # its name and version


def measure_alone(
    modules: Sequence[str], call: str, values: dict[str, Any], *, browser: str = "", timeout_s: float = 600
) -> Measured:
    """Open the page in a browser and wait for what it posts.

    modules: of this folder, for the page to import; the last one has the coroutine function `call`, which is given
    `values` and answers with what JSON carries. browser: a command with {url} in it; without one, this machine's
    Chromium. What the page prints goes to stderr. Raises CommandError when the page fails or the time is over.
    """
    posts: Queue[bytes] = Queue()

    def on_post(path: str, body: bytes) -> None:
        if path == "/result":
            posts.put(body)
        else:
            print(body.decode(), file=sys.stderr)

    task = quote(json.dumps({"modules": list(modules), "call": call, "values": values}))
    with tempfile.TemporaryDirectory() as profile, serving(DIST, mounts={"/bench/": FOLDER}, on_post=on_post) as url:
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
    """`HeadlessChrome/156.0.0.0` out of the long line that browsers say of themselves."""
    return next((part for part in user_agent.split() if "Chrome/" in part or "Firefox/" in part), user_agent)
