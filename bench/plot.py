"""Draws docs/confidence.svg and docs/terms.svg from bench/results.

python -m bench.plot
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tympan.cli.site import ROOT

RESULTS, DOCS = ROOT / "bench" / "results", ROOT / "docs"

_SIZE, _LEFT, _TOP, _RIGHT, _BOTTOM = (560, 380), 60, 24, 20, 62
COLOURS = ("#2563eb", "#dc2626", "#059669")


@dataclass(frozen=True)
class Line:
    """Points (x, y), joined. radii: of the points, in pixels."""

    label: str
    points: Sequence[tuple[float, float]]
    radii: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """label: with the unit. ticks: their first and last are the ends of the axis."""

    label: str
    ticks: Sequence[float]

    def place(self, value: float, start: float, end: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(start + (end - start) * (value - low) / (high - low), 1)


def draw(x: Axis, y: Axis, lines: Sequence[Line], diagonal: bool = False) -> str:
    """A chart as SVG. diagonal: draw a dashed line where both values are the same."""
    width, height = _SIZE
    left, right, top, bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" fill="#374151">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for tick in x.ticks:
        at = x.place(tick, left, right)
        svg.append(f'<path d="M{at} {top}V{bottom}" stroke="#e5e7eb"/>')
        svg.append(f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks:
        at = y.place(tick, bottom, top)
        svg.append(f'<path d="M{left} {at}H{right}" stroke="#e5e7eb"/>')
        svg.append(f'<text x="{left - 8}" y="{at + 4}" text-anchor="end">{tick:g}</text>')
    svg.append(f'<text x="{(left + right) / 2}" y="{bottom + 34}" text-anchor="middle">{escape(x.label)}</text>')
    middle = (top + bottom) / 2
    svg.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>')
    if diagonal:
        svg.append(f'<path d="M{left} {bottom}L{right} {top}" stroke="#9ca3af" stroke-dasharray="4 3"/>')
    for i, (line, colour) in enumerate(zip(lines, COLOURS, strict=False)):
        points = [(x.place(a, left, right), y.place(b, bottom, top)) for a, b in line.points]
        path = "L".join(f"{a} {b}" for a, b in points)
        svg.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (a, b), radius in zip(points, line.radii or [3] * len(points), strict=True):
            svg.append(f'<circle cx="{a}" cy="{b}" r="{radius:g}" fill="{colour}"/>')
        svg.append(f'<rect x="{left + 165 * i}" y="{height - 16}" width="10" height="10" fill="{colour}"/>')
        svg.append(f'<text x="{left + 16 + 165 * i}" y="{height - 7}">{escape(line.label)}</text>')
    return "\n".join([*svg, "</svg>", ""])


def confidence(result: dict[str, Any]) -> str:
    """The reliability of confidences: the share of right words by confidence. The area of a point is their number."""
    bins = result["confidence"]["bins"]
    largest = max(part["n"] for part in bins)
    line = Line(
        "words of all test sets",
        [(part["confidence"], part["right"]) for part in bins],
        [round(3 + 6 * (part["n"] / largest) ** 0.5, 1) for part in bins],
    )
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    return draw(Axis("confidence", ticks), Axis("share of right words", ticks), [line], diagonal=True)


def terms(result: dict[str, Any]) -> str:
    """Errors on rare names and on other words by boost, with 100 terms."""
    lines = [
        Line(label, [(point["boost"], point[key]) for point in result["boosts"]])
        for key, label in (("term_errors", "rare names"), ("other_errors", "other words"))
    ]
    return draw(Axis("boost", [0, 1, 2, 3, 4, 5, 6]), Axis("share of wrong words", [0, 0.25, 0.5, 0.75, 1]), lines)


CHARTS = {"confidence": confidence, "terms": terms}


def main() -> None:
    for name, function in CHARTS.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            (DOCS / f"{name}.svg").write_text(function(json.loads(path.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
