"""The part of bench/lm.py that runs in the page."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pyodide_js

from bench import lm_webgpu_in_page
from bench.random_lm import random_codes, random_lm
from tympan.arrays import Int32
from tympan.config import LMConfig
from tympan.lm.backend import Backend, Step
from tympan.lm.webgpu.backend import WebGPUBackend
from tympan.loading import open_backend

N_TOGETHER = 8  # frames that are pending at the same time
WARM_S = 5.0  # not counted: browsers recompile hot code, and clock rates rise


async def measure(
    config_json: Mapping[str, Any],
    hidden: int,
    backend: str,
    fills: Sequence[int],
    n_frames: int,
    n_checked: int,
    n_session_frames: int,
    with_layouts: bool,
) -> dict[str, Any]:
    """Time a random model, and return its results for the frames that are checked."""
    config = LMConfig.from_json(config_json)
    weights = random_lm(config, hidden)
    before_bytes, started_s = _heap_bytes(), perf_counter()
    lm = await open_backend(backend, config, weights)
    load_s = perf_counter() - started_s
    print(f"{backend} on {lm.runs_on}, ready after {load_s:.1f} s")
    try:
        results = {fill: await _results(lm, fill, random_codes(config, n_checked)) for fill in (fills[0], fills[-1])}
        print("computed the results to be checked")
        timed = await _time_fills(lm, fills, n_frames)
        more = (
            await lm_webgpu_in_page.measure(lm, weights, fills[-1], with_layouts)
            if isinstance(lm, WebGPUBackend)
            else {}
        )
        heap_bytes = _heap_bytes() - before_bytes
        session = await _session(lm, n_session_frames) if n_session_frames else {}
        ready = {"runs_on": lm.runs_on, "load_s": load_s, "heap_bytes": heap_bytes}
        return {**ready, "results": results, "more": more, "session": session, **timed}
    finally:
        lm.close()


def _heap_bytes() -> int:
    """Python's memory in bytes; it never shrinks."""
    return int(pyodide_js._module.HEAPU8.length)


async def _results(lm: Backend, fill: int, frames: Int32) -> list[dict[str, Any]]:
    """Tokens and logits of a stream whose KV cache starts with `fill` slots of zeros."""
    state = lm.new_state()
    state.position = fill
    steps = [await lm.step(state, frame, want_logits=True) for frame in frames]
    return [{"token": step.token, "logits": step.logits.tolist()} for step in steps if step.logits is not None]


async def _time_fills(lm: Backend, fills: Sequence[int], n_frames: int) -> dict[str, Any]:
    """For every group of frames: ms per completed frame by fill of the KV cache, and ms to start a step."""
    await _Stream(lm, fills[-1]).run(N_TOGETHER, at_least_s=WARM_S)
    frame_ms, start_ms = {}, []
    for fill in reversed(fills):
        stream = _Stream(lm, fill)
        await stream.run(n_frames)
        frame_ms[fill] = stream.frame_ms
        start_ms += stream.start_ms
        print(f"KV cache fill {fill}: {np.median(stream.frame_ms):.2f} ms per frame")
    return {"frame_ms": {fill: frame_ms[fill] for fill in fills}, "start_ms": start_ms}


async def _session(lm: Backend, n_frames: int) -> dict[str, Any]:
    """Run one stream of n_frames; measure how much Python's memory grew after the first hundredth of them."""
    stream, n_part = _Stream(lm, None), -(-n_frames // 100)
    await stream.run(n_part)
    before_bytes, n_objects, started_s = _heap_bytes(), _n_objects(), perf_counter()
    for _ in range(99):
        await stream.run(n_part)
        stream.frame_ms.clear()
        stream.start_ms.clear()
    return {
        "n_frames": 100 * n_part,
        "frame_ms": (perf_counter() - started_s) * 1000 / (99 * n_part),
        "heap_growth_bytes": _heap_bytes() - before_bytes,
        "object_growth": _n_objects() - n_objects,
    }


def _n_objects() -> int:
    gc.collect()
    return len(gc.get_objects())


class _Stream:
    """Runs frames as for a file: some are pending while the next is started.

    fill: slots of the KV cache in use, kept constant; None: it fills up and wraps, as in normal use.
    """

    def __init__(self, lm: Backend, fill: int | None) -> None:
        self._lm, self._fill, self._state = lm, fill, lm.new_state()
        self._codes = random_codes(lm.config, 1)[0]
        self.frame_ms: list[float] = []
        self.start_ms: list[float] = []

    async def run(self, n_frames: int, at_least_s: float = 0) -> None:
        n_group, n_done, start_s = min(N_TOGETHER, n_frames), 0, 0.0
        started_s = group_s = perf_counter()
        pending: deque[Awaitable[Step]] = deque()
        codes = np.tile(self._codes, (min(self._lm.max_steps, n_group), 1))
        while n_done < n_frames or perf_counter() - started_s < at_least_s:
            while len(pending) < n_group:
                if self._fill is not None:
                    self._state.position = self._fill
                start_s -= perf_counter()
                pending.extend(self._lm.steps(self._state, codes))
                start_s += perf_counter()
            await pending.popleft()
            n_done += 1
            if n_done % n_group == 0:
                now_s = perf_counter()
                self.frame_ms.append((now_s - group_s) * 1000 / n_group)
                self.start_ms.append(start_s * 1000 / n_group)
                group_s, start_s = now_s, 0.0
        for step in pending:
            await step
