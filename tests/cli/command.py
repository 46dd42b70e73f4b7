"""Runs the `tympan` command in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tympan.cli.site import ROOT


def run_tympan(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command in the root of the checkout, with these additional environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "tympan.cli.main", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
