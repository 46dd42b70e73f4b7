"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(browser: str) -> dict[str, str | int]:
    """The CPU's model, how many there are, and the browser."""
    return {"cpu": _cpu(), "n_cpus": os.cpu_count() or 1, "system": platform.system(), "browser": browser}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
