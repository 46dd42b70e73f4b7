"""Selects where Mimi runs, with the reason that the page shows.

`auto` measures the encoder on the GPU and on the CPU for a few frames, and selects the faster one.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.errors import GpuError
from tympan.gpu.device import AdapterInfo
from tympan.mimi.backend import Encoder
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.recovery import RecoveringEncoder
from tympan.reasons import Reason

CHOICES = ("auto", "webgpu", "cpu")
N_MEASURED = 6  # frames


async def open_mimi(
    requested: str, config: MimiConfig, tensors: Mapping[str, NDArray[Any]], adapter: AdapterInfo | None
) -> tuple[Encoder, Reason | GpuError]:
    """Load the encoder where it is fastest; also why it was selected.

    requested: one of CHOICES. adapter: the GPU that the transformer runs on, None for the CPU; `auto` uses no other
    and no software GPU.
    Raises BadModel; GpuError if the GPU was requested and cannot be used.
    """

    async def open_cpu() -> Encoder:
        return Mimi(config, MimiWeights.from_tensors(config, tensors))

    async def open_gpu() -> Encoder:
        from tympan.mimi.webgpu.encoder import MimiGpu  # not at the top: a page without a GPU does not need it

        return await MimiGpu.create(config, tensors)

    cpu = Mimi(config, MimiWeights.from_tensors(config, tensors))
    if requested == "cpu":
        return cpu, Reason("asked")
    if requested == "auto" and (adapter is None or adapter.is_software):
        return cpu, Reason("no_gpu" if adapter else "with_transformer")
    try:
        gpu = await _checked(await open_gpu(), cpu)
    except GpuError as error:
        if requested == "webgpu":
            raise
        return cpu, error
    reason = Reason("asked")
    if requested == "auto":
        fields = {"gpu_ms": await frame_ms(gpu), "cpu_ms": await frame_ms(cpu)}
        if fields["cpu_ms"] < fields["gpu_ms"]:
            gpu.close()
            return cpu, Reason("mimi_on_cpu", fields)
        reason = Reason("mimi_on_gpu", fields)
    return RecoveringEncoder([open_gpu, open_cpu], gpu), reason


async def _checked(gpu: Any, cpu: Mimi) -> Encoder:
    """Compare the encoder on the GPU with the CPU. Raises GpuError."""
    from tympan.mimi.webgpu.selfcheck import check

    try:
        await check(gpu, cpu)
    except BaseException:
        gpu.close()
        raise
    checked: Encoder = gpu
    return checked


async def frame_ms(encoder: Encoder) -> float:
    """The time of the fastest of some frames, each awaited before the next one starts, as with live audio."""
    rng, state, times_ms = np.random.default_rng(0), encoder.new_state(), []
    for _ in range(N_MEASURED):
        frame = rng.uniform(-0.1, 0.1, (1, FRAME_SAMPLES)).astype(np.float32)
        start_s = perf_counter()
        await encoder.start(state, frame)
        times_ms.append((perf_counter() - start_s) * 1000)
    return min(times_ms)
