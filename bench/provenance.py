"""Where a measurement comes from: commit, date, machine and browser, for every file of bench/results."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import Any

from bench.machine import machine
from tympan.cli.site import ROOT


def provenance(browser: str) -> dict[str, Any]:
    """The keys that every result carries.

    browser: name and version, as in "chromium 156.0.1".
    Returns commit (abbreviated hash, "-dirty" appended where the tree has changes; "" outside of a checkout), date
    (UTC, ISO 8601), machine and browser.
    """
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(browser),
        "browser": browser,
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
