"""Draws docs/lm.svg, the time of the transformer per frame, from every bench/results/lm-*.json.

python -m bench.chart
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any

from tympan.cli.site import ROOT

RESULTS, CHART = ROOT / "bench" / "results", ROOT / "docs" / "lm.svg"
FRAME_MS = 80
COLOURS = ("#93c5fd", "#3b82f6", "#1e3a8a")  # by fill of the KV cache: empty, half full, full

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BAR = 840, 320, 70, 30, 54, 13
_AXIS_MS = (0.1, 10_000.0)


def draw(results: Sequence[Mapping[str, Any]]) -> str:
    """The chart as SVG: one bar per result and fill of the KV cache, on a logarithmic axis, and a line at real time."""
    bottom = _TOP + _ROW * len(results)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 50}" font-family="sans-serif" '
        'font-size="12" fill="#374151">',
        f'<rect width="{_WIDTH}" height="{bottom + 50}" fill="#fff"/>',
    ]
    for exponent in range(int(log10(_AXIS_MS[0])), int(log10(_AXIS_MS[1])) + 1):
        at = _x(10.0**exponent)
        lines.append(f'<path d="M{at} {_TOP - 6}V{bottom}" stroke="#e5e7eb"/>')
        lines.append(f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{10.0**exponent:g} ms</text>')
    for i, result in enumerate(results):
        lines += _row(result, _TOP + _ROW * i)
    at = _x(FRAME_MS)
    lines.append(f'<path d="M{at} {_TOP - 6}V{bottom}" stroke="#dc2626" stroke-dasharray="4 3"/>')
    lines.append(
        f'<text x="{at}" y="{_TOP - 12}" text-anchor="middle" fill="#dc2626">real time: 80 ms per frame</text>'
    )
    for i, (colour, name) in enumerate(zip(COLOURS, ("empty", "half full", "full"), strict=True)):
        lines.append(f'<rect x="{_LEFT + 150 * i}" y="{bottom + 29}" width="10" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{_LEFT + 16 + 150 * i}" y="{bottom + 38}">KV cache {name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _row(result: Mapping[str, Any], top: int) -> list[str]:
    lm, label = result["lm"], f'<text x="{_LEFT - 10}" text-anchor="end"'
    lines = [
        f'{label} y="{top + 17}" font-weight="bold">{lm["size"]}, {lm["backend"]}</text>',
        f'{label} y="{top + 33}">{escape(_runs_on(result))}</text>',
    ]
    for i, (times, colour) in enumerate(zip(lm["ring_fill"].values(), COLOURS, strict=True)):
        at, y = _x(times["median_ms"]), top + 3 + _BAR * i
        lines.append(f'<rect x="{_LEFT}" y="{y}" width="{round(at - _LEFT, 1)}" height="{_BAR - 1}" fill="{colour}"/>')
        lines.append(f'<text x="{at + 4}" y="{y + 10}" font-size="10">{shown(times["median_ms"])}</text>')
    return lines


def shown(ms: float) -> str:
    """A time in three significant digits."""
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def _runs_on(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    if result["lm"]["runs_on"].startswith("CPU") or "software" in result["lm"]["runs_on"]:
        return f"{result['lm']['runs_on']}: {machine['n_cpus']} cores of {machine['cpu']}"
    return str(machine.get("gpu", result["lm"]["runs_on"]))


def _x(ms: float) -> float:
    low, high = (log10(end) for end in _AXIS_MS)
    return round(_LEFT + (_WIDTH - _RIGHT - _LEFT) * (log10(ms) - low) / (high - low), 1)


def read_and_draw() -> str:
    """The chart of every recorded result of the transformer, as SVG."""
    results = [json.loads(path.read_text("utf-8")) for path in RESULTS.glob("lm-*.json")]
    return draw(sorted(results, key=_rank))


def main() -> None:
    CHART.write_text(read_and_draw(), "utf-8")


def _rank(result: Mapping[str, Any]) -> tuple[str, float]:
    """Sort key: by size, then fastest first."""
    lm = result["lm"]
    return lm["size"], max(times["median_ms"] for times in lm["ring_fill"].values())


if __name__ == "__main__":
    main()
