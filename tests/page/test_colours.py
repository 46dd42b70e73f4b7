"""Every pair of colours used together meets WCAG AA contrast, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).parents[2] / "static" / "style.css").read_text("utf-8")
TEXT, PART = 4.5, 3.0  # minimum contrast of text, and of controls and graphics

PAIRS = [
    (ink, ground, TEXT) for ink in ("ink", "quiet", "accent") for ground in ("ground", "surface")
] + [
    ("on-accent", "accent", TEXT),
    ("ground", "ink", TEXT),
    ("ink", "tint", TEXT),
    ("alert", "alert-ground", TEXT),
    ("edge", "surface", PART),
    ("edge", "ground", PART),
    ("accent", "tint", PART),
    ("recording", "surface", PART),
]  # fmt: skip


def colours(scheme: str) -> dict[str, str]:
    """The variables of a scheme: the first block is light, the second overrides it for dark."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    return found | dict(re.findall(r"--([\w-]+): (#\w{6})", dark)) if scheme == "dark" else found


def luminance(colour: str) -> float:
    """Relative luminance. Source: W3C WCAG 2.2, definition of relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    found = colours(scheme)
    for one, other, least in PAIRS:
        brighter, darker = sorted((luminance(found[one]), luminance(found[other])), reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= least, f"{one} on {other}"


def test_colours_are_variables() -> None:
    rules = STYLE[STYLE.index("*,\n::before") :]
    assert re.findall(r"#[0-9a-f]{3,8}\b(?!-)|rgba?\(|hsl", rules) == ["#000"], "behind video only"
