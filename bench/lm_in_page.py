"""The side of bench/lm.py that runs in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from bench import lm_webgpu_in_page
from bench.random_lm import random_codes, random_lm
from tympan.arrays import Int32
from tympan.config import LMConfig
from tympan.lm.backend import Backend
from tympan.lm.webgpu import WebGPUBackend
from tympan.loading import open_backend

N_TOGETHER = 8  # frames that are started before the last of them is awaited
N_WARM = 2  # groups first, which are not counted


async def measure(
    config_json: Mapping[str, Any],
    hidden: int,
    backend: str,
    fills: Sequence[int],
    n_frames: int,
    n_checked: int,
    with_layouts: bool,
) -> dict[str, Any]:
    """Time a random model, and say what it said for the frames that are checked."""
    config = LMConfig.from_json(config_json)
    weights = random_lm(config, hidden)
    begun_s = perf_counter()
    lm = await open_backend(backend, config, weights)
    load_s = perf_counter() - begun_s
    print(f"{backend} on {lm.runs_on}, ready after {load_s:.1f} s")
    try:
        said = {fill: await _say(lm, fill, random_codes(config, n_checked)) for fill in (fills[0], fills[-1])}
        print("said what will be checked")
        timed = await _time_fills(lm, fills, n_frames)
        more = (
            await lm_webgpu_in_page.measure(lm, weights, fills[-1], with_layouts)
            if isinstance(lm, WebGPUBackend)
            else {}
        )
        return {"runs_on": lm.runs_on, "load_s": load_s, "said": said, "more": more, **timed}
    finally:
        lm.close()


async def _say(lm: Backend, fill: int, frames: Int32) -> list[dict[str, Any]]:
    """Tokens and logits of a stream whose ring begins with `fill` zeros."""
    state = lm.new_state()
    state.position = fill
    steps = [await lm.step(state, frame, want_logits=True) for frame in frames]
    return [{"token": step.token, "logits": step.logits.tolist()} for step in steps if step.logits is not None]


async def _time_fills(lm: Backend, fills: Sequence[int], n_frames: int) -> dict[str, Any]:
    """ms a frame of completed work for every group of frames, by fill of the ring; ms a step to start them."""
    frames, state = random_codes(lm.config, min(N_TOGETHER, n_frames)), lm.new_state()
    frame_ms: dict[int, list[float]] = {}
    start_ms: list[float] = []
    for fill in fills:
        frame_ms[fill] = []
        for _ in range(N_WARM + n_frames // len(frames)):
            state.position = fill
            begun_s = perf_counter()
            started = [lm.step(state, frame) for frame in frames]
            start_ms.append((perf_counter() - begun_s) * 1000 / len(frames))
            for step in started:
                await step
            frame_ms[fill].append((perf_counter() - begun_s) * 1000 / len(frames))
        del frame_ms[fill][:N_WARM]
        print(f"ring fill {fill}: {np.median(frame_ms[fill]):.2f} ms a frame")
    return {"frame_ms": frame_ms, "start_ms": start_ms}
