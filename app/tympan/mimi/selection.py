"""Selects where Mimi runs, with the reason that the page shows.

`auto` measures the encoder on the GPU and on the CPU for a few frames, and selects the faster one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from tympan.arrays import Int32
from tympan.codes import CodeReader
from tympan.config import MimiConfig
from tympan.errors import GpuError
from tympan.gpu.device import AdapterInfo
from tympan.latency import frame_ms
from tympan.mimi.backend import Encoder
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.noise import noise
from tympan.mimi.recovery import RecoveringEncoder
from tympan.reasons import Reason

CHOICES = ("auto", "webgpu", "cpu")


async def open_mimi(
    requested: str,
    config: MimiConfig,
    tensors: Mapping[str, NDArray[Any]],
    open_reader: Callable[[], Awaitable[CodeReader | None]],
) -> tuple[Encoder, Reason | GpuError]:
    """Load the encoder where it is fastest; also why it was selected.

    requested: one of CHOICES. open_reader: returns how the transformer reads codes on its GPU, None on the CPU; called
    each time the encoder is opened on a GPU, which then is the same. `auto` uses no other and no software GPU.
    Raises BadModel; GpuError if the GPU was requested and cannot be used.
    """

    async def open_cpu() -> Mimi:
        return Mimi(config, MimiWeights.from_tensors(config, tensors))

    async def open_gpu() -> Encoder:
        from tympan.mimi.webgpu.encoder import MimiGpu  # not at the top: a page without a GPU does not need it

        return await MimiGpu.create(config, tensors, reader=await open_reader())

    cpu, reader = await open_cpu(), await open_reader()
    if requested == "cpu":
        return cpu, Reason("asked")
    if requested == "auto" and (reader is None or reader.device.info.is_software):
        return cpu, Reason("no_gpu" if reader else "with_transformer")
    try:
        gpu = await _checked(await open_gpu(), cpu)
    except GpuError as error:
        if requested == "webgpu":
            raise
        return cpu, error
    reason = Reason("asked")
    if requested == "auto":
        fields = {"gpu_ms": await _frame_ms(gpu), "cpu_ms": await _frame_ms(cpu)}
        if fields["cpu_ms"] < fields["gpu_ms"]:
            gpu.close()
            return cpu, Reason("mimi_on_cpu", fields)
        reason = Reason("mimi_on_gpu", fields)
    return RecoveringEncoder([open_gpu, open_cpu], gpu), reason


def limits_on_gpu(config: MimiConfig, tensors: Mapping[str, NDArray[Any]], adapter: AdapterInfo) -> dict[str, int]:
    """Return the WebGPU limits, by name, that the encoder needs of a device of this adapter. Raises BadModel."""
    from tympan.mimi.webgpu.encoder import gpu_limits
    from tympan.mimi.webgpu.kernels import Tuning

    return gpu_limits(config, tensors, Tuning.for_adapter(adapter))


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


async def _frame_ms(encoder: Encoder) -> float:
    """The time of a frame of noise."""
    frame, state = noise(1, peak=0.1), encoder.new_state()

    def start() -> Awaitable[Int32]:
        return encoder.start(state, frame)

    return await frame_ms(start)
