"""The `tympan` command on the site of the test run, for commands that open the page."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.cli.command import run_tympan
from tympan.cli.site import ENVIRONMENT_VARIABLE

RunTympan: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tympan_in_browser(tympan_site: Path, tympan_chromium: Path) -> RunTympan:
    """`tympan_in_browser(*arguments)` runs a command that serves `tympan_site` instead of building dist/."""
    return partial(run_tympan, **{ENVIRONMENT_VARIABLE: str(tympan_site)})
