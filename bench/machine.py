"""Describes the machine that a measurement ran on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path


def machine(browser: str) -> dict[str, str | int]:
    """The CPU model, the number of logical CPUs, the system, the browser and, where nvidia-smi finds one, the GPU."""
    facts: dict[str, str | int] = {
        "cpu": _cpu(),
        "n_cpus": os.cpu_count() or 1,
        "system": platform.system(),
        "browser": browser,
    }
    gpu = _nvidia_gpu()
    return {"gpu": gpu, **facts} if gpu else facts


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _nvidia_gpu() -> str:
    """The name of the first NVIDIA GPU, or "" without one."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
