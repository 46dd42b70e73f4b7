"""Kernels: WGSL modules compiled once, bound once, and dispatched many times in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tympan
from tympan.gpu.buffers import Buffer
from tympan.gpu.device import Device
from tympan.gpu.webapi import Array, js_object, method_of

Constant = int | float


class Dispatch(NamedTuple):
    """A kernel with its buffers: the unit of work of a pass."""

    label: str
    pipeline: Any
    bind_group: Any
    n_workgroups: int


@dataclass(frozen=True)
class Copy:
    """Bytes that move from one buffer to another after the pass."""

    source: Buffer
    target: Buffer
    offset: int  # bytes into the target
    n_bytes: int


@dataclass(frozen=True)
class Kernel:
    """A compiled shader with its `override` constants and its grid."""

    device: Device
    label: str
    pipeline: Any
    layout: Any
    n_workgroups: int

    def on(self, label: str, *buffers: Buffer | None) -> Dispatch:
        """Bind buffers in the order of the shader's bindings, None where it has none of that number.

        label: names the work, as in `lm.layer3.qkv`.
        """
        entries = [{"binding": i, "resource": buffer.resource} for i, buffer in enumerate(buffers) if buffer]
        bind_group = self.device.handle.createBindGroup(
            js_object({"label": label, "layout": self.layout, "entries": entries})
        )
        return Dispatch(label, self.pipeline, bind_group, self.n_workgroups)


class Compiler:
    """Compiles the shaders of the library, each set of constants once."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._kernels: dict[Any, Kernel] = {}

    async def compile(self, shaders: tuple[str, ...], n_workgroups: int, constants: Mapping[str, Constant]) -> Kernel:
        """The kernel whose text is that of `shaders/<name>.wgsl`, one after another; the last one names it.

        n_workgroups: the grid, along x. constants: the values of the shaders' `override` declarations.
        Raises GpuFault with the driver's words.
        """
        key = (shaders, n_workgroups, tuple(sorted(constants.items())))
        if key not in self._kernels:
            source = "\n".join(source_of(shader) for shader in shaders)
            self._kernels[key] = await compile_source(self.device, shaders[-1], source, n_workgroups, constants)
        return self._kernels[key]


async def compile_source(
    device: Device, label: str, source: str, n_workgroups: int, constants: Mapping[str, Constant]
) -> Kernel:
    """Compile WGSL text with an entry point `main`. Raises GpuFault with the driver's words."""
    async with device.guard(f"the shader {label}"):
        module = device.handle.createShaderModule(js_object({"label": label, "code": source}))
        stage = {"module": module, "entryPoint": "main", "constants": constants}
        pipeline = await device.handle.createComputePipelineAsync(
            js_object({"label": label, "layout": "auto", "compute": stage})
        )
    return Kernel(device, label, pipeline, pipeline.getBindGroupLayout(0), n_workgroups)


def source_of(shader: str) -> str:
    """The text of a shader: from inside the package in a page, from the repository otherwise."""
    package = Path(tympan.__file__).parent
    folder = package / "shaders"
    if not folder.is_dir():
        folder = package.parents[1] / "shaders"
    return (folder / f"{shader}.wgsl").read_text(encoding="utf-8")


class Queue:
    """Submits work: one encoder, one compute pass, one command buffer each time."""

    def __init__(self, device: Device, label: str) -> None:
        self._device, self._submit = device.handle, device.handle.queue.submit
        self._begin = method_of("GPUCommandEncoder", "beginComputePass")
        self._end = method_of("GPUComputePassEncoder", "end")
        self._copy = method_of("GPUCommandEncoder", "copyBufferToBuffer")
        self._finish = method_of("GPUCommandEncoder", "finish")
        self._label = js_object({"label": label})
        self._commands = Array.of(None)

    def submit(self, dispatches: Sequence[Dispatch], copies: Sequence[Copy] = (), timed: Any = None) -> None:
        """Start the dispatches in order, then the copies, and return at once.

        timed: a GPUComputePassDescriptor to be used instead of the usual one, with timestampWrites.
        """
        encoder = self._device.createCommandEncoder(self._label)
        compute = self._begin(encoder, timed or self._label)
        set_pipeline, set_bind_group, run = compute.setPipeline, compute.setBindGroup, compute.dispatchWorkgroups
        for _, pipeline, bind_group, n_workgroups in dispatches:
            set_pipeline(pipeline)
            set_bind_group(0, bind_group)
            run(n_workgroups)
        self._end(compute)
        for copy in copies:
            self._copy(encoder, copy.source.handle, 0, copy.target.handle, copy.offset, copy.n_bytes)
        self._commands[0] = self._finish(encoder)
        self._submit(self._commands)
