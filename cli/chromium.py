"""Chromium on this machine: where it is, and how it is started. Needs nothing but Python's own library."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from cli.errors import CommandError

ENVIRONMENT_VARIABLE = "TYMPAN_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

GPU_NODES = ("dri/renderD*", "nvidiactl")  # under /dev, where Linux has a driver for a GPU
# Without a screen, Chromium on Linux looks for a GPU only when it is pointed at Vulkan; and where it is, but finds no
# GPU, the page stalls for minutes.
GPU_FLAGS = (
    "--enable-features=Vulkan",
    "--use-angle=vulkan",
    "--use-webgpu-adapter=default",
    "--ignore-gpu-blocklist",
    "--disable-vulkan-surface",
)
SOFTWARE_FLAGS = ("--use-webgpu-adapter=swiftshader",)


def find() -> Path:
    """The browser's program: what $TYMPAN_CHROMIUM names, else the first of NAMES on the PATH.

    Raises CommandError, saying what to install, when there is none.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise CommandError(f"{ENVIRONMENT_VARIABLE} names {named}, which is not a program.")
        return Path(named)
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return Path(path)
    raise CommandError(
        "There is no Chromium or Chrome on the PATH. Install one (on Debian: apt-get install chromium), "
        f"or name its program in {ENVIRONMENT_VARIABLE}."
    )


def flags() -> list[str]:
    """The command line that offers WebGPU without a screen: on the GPU where there is one, else in software."""
    flags = [
        "--enable-unsafe-webgpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
    ]
    if sys.platform == "linux":
        flags += GPU_FLAGS if _has_gpu() else SOFTWARE_FLAGS
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox cannot be set up by root
    return flags


def _has_gpu() -> bool:
    return any(path for pattern in GPU_NODES for path in Path("/dev").glob(pattern))
