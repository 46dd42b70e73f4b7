"""Finds Chromium on this machine and builds its command line. Uses the standard library only: bootstrap.py needs it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from cli.errors import CommandError

ENVIRONMENT_VARIABLE = "TYMPAN_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

GPU_NODES = ("dri/renderD*", "nvidiactl")  # under /dev, present where Linux has a GPU driver
# Without a display, Chromium on Linux uses a GPU only with the flags for Vulkan. With these flags but without a
# GPU the page stalls for minutes, so they are added only where a GPU was found.
GPU_FLAGS = (
    "--enable-features=Vulkan",
    "--use-angle=vulkan",
    "--use-webgpu-adapter=default",
    "--ignore-gpu-blocklist",
    "--disable-vulkan-surface",
)
SOFTWARE_FLAGS = ("--use-webgpu-adapter=swiftshader",)


def find() -> Path:
    """Return the path of the browser: $TYMPAN_CHROMIUM if set, else the first of NAMES on the PATH.

    Raises CommandError, naming what to install, when there is none.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise CommandError(f"{ENVIRONMENT_VARIABLE} is set to {named}, which is not an executable file.")
        return Path(named)
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return Path(path)
    raise CommandError(
        "No Chromium or Chrome was found on the PATH. Install one (on Debian: apt-get install chromium), "
        f"or set {ENVIRONMENT_VARIABLE} to its path."
    )


def flags() -> list[str]:
    """Return the arguments that enable WebGPU in a headless browser: on the GPU if there is one, else in software."""
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
        flags.append("--no-sandbox")  # Chromium's sandbox does not work for root
    return flags


def _has_gpu() -> bool:
    return any(path for pattern in GPU_NODES for path in Path("/dev").glob(pattern))
