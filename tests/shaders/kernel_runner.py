"""Runs in the page: one kernel on given buffers. The device and the compiler are kept from call to call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from tympan.config import MimiConfig, TransformerConfig
from tympan.gpu.buffers import Readback, Usage, upload
from tympan.gpu.device import Device
from tympan.gpu.kernel import Compiler, Copy, Queue
from tympan.lm.webgpu.kernels import KVFormat, Tuning, WebGPUKernels
from tympan.mimi.webgpu.kernels import MimiGpuKernels
from tympan.mimi.webgpu.kernels import Tuning as MimiTuning

_compilers: list[Compiler] = []  # at most one


async def run_kernel(
    name: str,
    sizes: TransformerConfig,
    arrays: list[NDArray[Any] | None],
    tuning: Tuning,
    kv_format: KVFormat,
    options: Mapping[str, Any],
) -> list[NDArray[Any]]:
    """Compile a kernel, run it once, and return the contents of all buffers, with the dtypes and shapes of `arrays`.

    name: a method of `WebGPUKernels`; options: its arguments. arrays: None where a shader has no such binding.
    """
    async with _compiler() as compiler:
        kernel = await getattr(WebGPUKernels(compiler, tuning, sizes, kv_format), name)(**options)
        return await _run(compiler.device, kernel, name, arrays)


async def run_mimi_kernel(
    name: str,
    config: MimiConfig,
    arrays: list[NDArray[Any] | None],
    tuning: MimiTuning,
    n_slots: int,
    n_workgroups: int,
    options: Mapping[str, Any],
) -> list[NDArray[Any]]:
    """Do the same for a method of `MimiGpuKernels`. n_slots: as of that class. n_workgroups: the grid."""
    async with _compiler() as compiler:
        kernel = await getattr(MimiGpuKernels(compiler, tuning, config, n_slots), name)(**options)
        return await _run(compiler.device, replace(kernel, n_workgroups=n_workgroups), name, arrays)


@asynccontextmanager
async def _compiler() -> AsyncIterator[Compiler]:
    """The compiler that is kept; after an error the next call starts with a device that has recorded none."""
    if not _compilers:
        _compilers.append(Compiler(await Device.request({})))
    try:
        yield _compilers[0]
    except BaseException:
        close()
        raise


async def _run(device: Device, kernel: Any, name: str, arrays: list[NDArray[Any] | None]) -> list[NDArray[Any]]:
    usage = Usage.STORAGE | Usage.COPY_SRC
    async with device.error_scope(name):
        bound = [
            upload(device, f"{name}.{i}", [array], usage) if array is not None else None
            for i, array in enumerate(arrays)
        ]
        buffers = [buffer for buffer in bound if buffer is not None]
        readback = Readback(device, "result", max(buffer.n_bytes for buffer in buffers), len(buffers))
        slots = [readback.acquire() for _ in buffers]
        copies = [Copy(buffer, slot, 0, buffer.n_bytes) for buffer, slot in zip(buffers, slots, strict=True)]
        Queue(device, name).submit([kernel.bind(name, *bound)], copies)
    results = [await readback.read(slot, buffer.n_bytes) for slot, buffer in zip(slots, buffers, strict=True)]
    for buffer in buffers:
        buffer.destroy()
    readback.destroy()
    inputs = [array for array in arrays if array is not None]
    return [
        result[: array.nbytes].view(array.dtype).reshape(array.shape)
        for result, array in zip(results, inputs, strict=True)
    ]


def close() -> None:
    """Release the device."""
    while _compilers:
        _compilers.pop().device.close()
