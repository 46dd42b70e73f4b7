"""Returns results of the GPU at once in browsers that rarely check for finished work.

Firefox checks when commands are submitted, and otherwise every 100 ms. A frame of audio has 80 ms, so steps that are
awaited one by one would be too slow on any GPU. Submitting an empty list makes Firefox check.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from tympan.gpu.webapi import Array, js, js_object

SLOW_S = 0.03  # from a request to map an idle buffer until it is mapped; other browsers take a few milliseconds
INTERVAL_MS = 1  # between empty lists; browsers raise it to 4 ms
MAP_READ, COPY_DST = 1, 8  # GPUBufferUsage; the first is GPUMapMode.READ, too


class Polling:
    """A context in which empty lists are submitted to a queue. It may be entered again inside of itself."""

    def __init__(self, device: Any) -> None:
        """device: a GPUDevice."""
        # A bound native function, so that no Python runs on each tick.
        self._submit = js.GPUQueue.prototype.submit.bind(device.queue, Array.new())
        self._n_entered = 0
        self._timer: Any = None

    def __enter__(self) -> None:
        self._n_entered += 1
        if self._n_entered == 1:
            self._timer = js.setInterval(self._submit, INTERVAL_MS)

    def __exit__(self, *_: object) -> None:
        self._n_entered -= 1
        if not self._n_entered:
            js.clearInterval(self._timer)


async def is_polled_rarely(device: Any) -> bool:
    """Measure whether the browser is slow to notice finished work. device: a GPUDevice with an empty queue."""
    buffer = device.createBuffer(js_object({"label": "polling", "size": 4, "usage": MAP_READ | COPY_DST}))
    times_s = []
    for _ in range(2):
        start_s = perf_counter()
        await buffer.mapAsync(MAP_READ)
        times_s.append(perf_counter() - start_s)
        buffer.unmap()
    buffer.destroy()
    return times_s[-1] > SLOW_S  # the first may have come right before the browser checked
