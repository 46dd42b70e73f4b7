"""Measures a stage, to select where it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

N_MEASURED = 6  # frames


async def frame_ms(start: Callable[[], Awaitable[Any]]) -> float:
    """The time of the fastest of N_MEASURED frames, each awaited before the next one starts, as with live audio.

    start: starts one frame and returns its pending result.
    """
    times_ms = []
    for _ in range(N_MEASURED):
        started_s = perf_counter()
        await start()
        times_ms.append((perf_counter() - started_s) * 1000)
    return min(times_ms)
