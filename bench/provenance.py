"""Where a measurement comes from: commit, date, machine and browser, for every file of bench/results."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine
from tympan.cli.site import ROOT


def provenance(browser: str) -> dict[str, Any]:
    """The keys that every result carries.

    browser: name and version, as in "chromium 156.0.1".
    Returns commit (abbreviated hash, with "-dirty" if a tracked file outside bench/results has changed; "" if this is
    no checkout), date (UTC, ISO 8601), machine and browser.
    """
    return {
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(browser),
        "browser": browser,
    }


def commit(root: Path = ROOT) -> str:
    """The commit of the checkout at `root`. Results do not count as changes: recording several changes them."""
    try:
        described = _git(root, "describe", "--always", "--exclude=*").strip()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{described}-dirty" if changed else described


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout
