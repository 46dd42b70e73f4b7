"""Finds Firefox on this machine and names the preferences that it needs for Tympan.

Uses the standard library only, because bootstrap.py imports it before anything is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from tympan.cli import programs

Preferences: TypeAlias = dict[str, str | float | bool]

ENVIRONMENT_VARIABLE = "TYMPAN_FIREFOX"
NAMES = ("firefox-esr", "firefox")
PLACES = {
    "darwin": ("/Applications/Firefox.app/Contents/MacOS/firefox",),
    "win32": ("${PROGRAMFILES}/Mozilla Firefox/firefox.exe", "${PROGRAMFILES(X86)}/Mozilla Firefox/firefox.exe"),
}
# Playwright starts a Firefox that it did not build over WebDriver BiDi, and calls that a channel.
CHANNEL = "moz-firefox"


def find() -> Path:
    """Return the path of Firefox: $TYMPAN_FIREFOX if set, else the first of NAMES on the PATH or of PLACES.

    Raises CommandError, naming what to install, when there is none.
    """
    return programs.find("Firefox", NAMES, PLACES, ENVIRONMENT_VARIABLE, "firefox-esr")


def preferences(*, webgpu: bool = True) -> Preferences:
    """Return the preferences of a browser that runs the page. webgpu: allow WebGPU, on a software GPU too."""
    return {
        "dom.webgpu.enabled": webgpu,
        "gfx.webgpu.ignore-blocklist": webgpu,
        "media.autoplay.default": 0,  # audio contexts start without a click
    }
