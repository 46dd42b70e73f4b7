"""Formats figures for the tables of the documents. Ties are rounded against Tympan."""

from __future__ import annotations

from collections.abc import Sequence


def as_ms(ms: float) -> str:
    ms += 1e-9  # rounds ties up, so that no time looks shorter than it is
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def as_seconds(ms: float) -> str:
    return f"{ms / 1000:.1f} s"


def as_mb_range(megabytes: Sequence[float]) -> str:
    """The least and the most of a series; one figure if they round to the same."""
    low, high = (f"{value:.0f}" for value in (min(megabytes), max(megabytes)))
    return f"{low} MB" if low == high else f"{low} to {high} MB"


def as_percent(share: float, n_digits: int = 0) -> str:
    return f"{share:.{n_digits}%}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
