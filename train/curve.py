"""Draws the curve of word error over all runs from their logs.

python -m train.curve LOG... DEST.svg
"""

import json
import sys
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 300, 48, 12, 40
_TOP_RATE = 1.2
_COLOURS = {
    "unseen_sentences": "#2563eb",
    "unseen_voices": "#0d9488",
    "human_digits": "#d97706",
    "human_sentences": "#dc2626",
    "people_accents": "#7c3aed",
    "people_reading": "#111827",
    "people_commonvoice": "#db2777",
}


def points(logs: list[Path]) -> dict[str, list[tuple[int, float]]]:
    """{set: [(step, word error), ...]} of all runs, one after another."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in _COLOURS}
    for log in logs:
        for entry in map(json.loads, log.read_text().splitlines()):
            rates = entry.get("wer") or {name: final[0] for name, final in entry.get("final", {}).items()}
            for name, rate in rates.items():
                found[name].append((entry["step"], rate))
    return {name: curve for name, curve in found.items() if curve}


def draw(curves: dict[str, list[tuple[int, float]]]) -> str:
    last = max(step for curve in curves.values() for step, _ in curve)
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - 8

    def x(step: float) -> float:
        return round(_LEFT + (right - _LEFT) * step / last, 1)

    def y(rate: float) -> float:
        return round(bottom - (bottom - _TOP) * min(rate, _TOP_RATE) / _TOP_RATE, 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for percent in (0, 20, 40, 60, 80, 100, 120):
        at = y(percent / 100)
        lines.append(f'<path d="M{_LEFT} {at}H{right}" stroke="#e5e7eb"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end" fill="#4b5563">{percent} %</text>')
    for step in range(0, int(0.93 * last), 5000):  # what is right of it is for the axis' name
        lines.append(f'<text x="{x(step)}" y="{bottom + 16}" text-anchor="middle" fill="#4b5563">{step:,}</text>')
    lines.append(f'<text x="{right}" y="{bottom + 16}" text-anchor="end" fill="#4b5563">steps</text>')
    for i, name in enumerate(curves):
        colour = _COLOURS[name]
        path = " ".join(f"{x(step)},{y(rate)}" for step, rate in curves[name])
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        left, title = _LEFT + (right - _LEFT) // len(curves) * i, name.replace("_", " ")
        lines.append(f'<text x="{left}" y="{_HEIGHT - 6}" fill="{colour}">{title}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    *logs, dest = map(Path, sys.argv[1:])
    dest.write_text(draw(points(logs)))


if __name__ == "__main__":
    main()
