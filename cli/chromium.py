"""Finds Chromium, Chrome or Edge on this machine and builds its command line.

Uses the standard library only, because bootstrap.py imports it before anything is installed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tympan.cli import programs

ENVIRONMENT_VARIABLE = "TYMPAN_CHROMIUM"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
)
# Where macOS and Windows install browsers, which are not on the PATH there. A leading variable is replaced.
PLACES = {
    "darwin": (
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        "${LOCALAPPDATA}/Chromium/Application/chrome.exe",
        "${PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
        "${PROGRAMFILES(X86)}/Google/Chrome/Application/chrome.exe",
        "${LOCALAPPDATA}/Google/Chrome/Application/chrome.exe",
        "${PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
        "${PROGRAMFILES}/Microsoft/Edge/Application/msedge.exe",
    ),
}

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

# The popups of the address bar are pages, which every window loads. The other features are those that Playwright
# disables and that affect a page: the switch replaces Playwright's.
DISABLE_FEATURES = "--disable-features=" + ",".join(
    (
        "WebUIOmniboxPopup",
        "WebUIOmniboxAimPopup",
        "AvoidCorsURLLoaderRestartOnRedirect",
        "AvoidUnnecessaryBeforeUnloadCheckSync",
        "BlockOriginHeaderModificationOnRedirect",
        "DestroyProfileOnBrowserClose",
        "DialMediaRouteProvider",
        "HttpsUpgrades",
        "MediaRouter",
        "NetworkTimeServiceQuerying",
        "OptimizationHints",
        "PaintHolding",
        "ThirdPartyStoragePartitioning",
        "Translate",
    )
)


def find(brand: str = "") -> Path:
    """Return the path of the browser.

    brand: "chrome" or "edge". Otherwise any of NAMES; then $TYMPAN_CHROMIUM comes first.

    Raises CommandError, naming what to install, when there is none.
    """
    if not brand:
        return programs.find("Chromium, Chrome or Edge", NAMES, PLACES, ENVIRONMENT_VARIABLE, "chromium")
    title, maker = {"chrome": ("Chrome", "google"), "edge": ("Edge", "edge")}[brand]
    names = [name for name in NAMES if maker in name]
    places = {system: [place for place in listed if maker in place.lower()] for system, listed in PLACES.items()}
    return programs.find(title, names, places)


def flags() -> list[str]:
    """Return the arguments that enable WebGPU in a headless browser: on the GPU if there is one, else in software."""
    flags = [
        DISABLE_FEATURES,
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
