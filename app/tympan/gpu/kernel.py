"""Kernels: WGSL modules compiled once, bound once, and dispatched many times in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tympan.errors import GpuFault
from tympan.gpu.buffers import Buffer, Readback
from tympan.gpu.device import Device
from tympan.gpu.shaders import Shader, compose
from tympan.gpu.webapi import Array, JsException, js_object, method_of, replay

Constant = int | float

_POSITION = re.compile(r"(?<![\w.]):(\d+):(\d+)(?=:? )")  # `:12:5 error: ...` in a driver's message


class Dispatch(NamedTuple):
    """A kernel bound to its buffers: one dispatch of a pass."""

    label: str
    pipeline: Any
    bind_group: Any
    n_workgroups: int


@dataclass(frozen=True)
class Copy:
    """A buffer-to-buffer copy before or after the pass."""

    source: Buffer
    target: Buffer
    offset: int  # bytes into the target
    n_bytes: int
    source_offset: int = 0  # bytes into the source


@dataclass(frozen=True)
class Kernel:
    """A compiled shader with its `override` constants and its grid."""

    device: Device
    label: str
    pipeline: Any
    layout: Any
    n_workgroups: int

    def bind(self, label: str, *buffers: Buffer | None) -> Dispatch:
        """Bind buffers in the order of the shader's binding numbers; None where the shader has no such binding.

        label: names the dispatch, as in `lm.layer3.qkv`.
        """
        entries = [{"binding": i, "resource": buffer.resource} for i, buffer in enumerate(buffers) if buffer]
        bind_group = self.device.handle.createBindGroup(
            js_object({"label": label, "layout": self.layout, "entries": entries})
        )
        return Dispatch(label, self.pipeline, bind_group, self.n_workgroups)


class Compiler:
    """Compiles the library's shaders, each composed text with each set of constants once."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._shaders: dict[Any, Shader] = {}
        self._kernels: dict[Any, Kernel] = {}

    async def compile(
        self, name: str, variables: Mapping[str, str], n_workgroups: int, constants: Mapping[str, Constant]
    ) -> Kernel:
        """Compile `shaders/<name>.wgsl`.

        variables: for its include lines. n_workgroups: the grid, along x. constants: values of the shader's `override`
        declarations.
        Raises GpuFault with the driver's messages, in lines of the source files.
        """
        shader_key = (name, tuple(sorted(variables.items())))
        if shader_key not in self._shaders:
            self._shaders[shader_key] = compose(name, variables)
        shader = self._shaders[shader_key]
        key = (shader, n_workgroups, tuple(sorted(constants.items())))
        if key not in self._kernels:
            self._kernels[key] = await compile_shader(self.device, shader, n_workgroups, constants)
        return self._kernels[key]


async def compile_shader(
    device: Device, shader: Shader, n_workgroups: int, constants: Mapping[str, Constant]
) -> Kernel:
    """Compile a shader with an entry point `main`. Raises GpuFault with the driver's messages, in source-file lines."""
    label, module = shader.name, None
    try:
        async with device.error_scope(f"the shader {label}"):
            module = device.handle.createShaderModule(js_object({"label": label, "code": shader.text}))
            stage = {"module": module, "entryPoint": "main", "constants": constants}
            pipeline = await device.handle.createComputePipelineAsync(
                js_object({"label": label, "layout": "auto", "compute": stage})
            )
    except GpuFault as fault:
        messages = await _compilation_errors(module, shader)
        raise GpuFault(fault.label, messages or with_source_lines(fault.reason, shader)) from fault
    return Kernel(device, label, pipeline, pipeline.getBindGroupLayout(0), n_workgroups)


async def _compilation_errors(module: Any, shader: Shader) -> str:
    """The compiler's errors, one per line, in source-file lines; empty where the module itself is valid."""
    if module is None:
        return ""
    try:
        messages = (await module.getCompilationInfo()).messages
    except JsException:  # the device was lost meanwhile
        return ""
    errors = []
    for message in messages:
        if message.type == "error":
            origin = shader.origin_of(int(message.lineNum))
            place = f"{origin}:{message.linePos}: " if origin else ""
            errors.append(f"{place}error: {message.message}")
    return "\n".join(errors)


def with_source_lines(message: str, shader: Shader) -> str:
    """A driver's message in which positions such as `:12:5` in the composed text name the source file and its line."""

    def replaced(position: re.Match[str]) -> str:
        origin = shader.origin_of(int(position[1]))
        return f"{origin}:{position[2]}" if origin else position[0]

    return _POSITION.sub(replaced, message)


class CommandList(tuple[Dispatch, ...]):
    """Dispatches that are submitted many times. JavaScript encodes them where the worker has bridge/replay.js."""

    recorded: Any  # a JavaScript array, or None

    def __new__(cls, dispatches: Iterable[Dispatch]) -> Self:
        """Record the dispatches."""
        commands = super().__new__(cls, dispatches)
        commands.recorded = None
        if replay is not None:
            commands.recorded = Array.of(*(Array.of(pipeline, group, n) for _, pipeline, group, n in commands))
        return commands


class Queue:
    """Submits work: one encoder, one compute pass and one command buffer each time."""

    def __init__(self, device: Device, label: str) -> None:
        self._device, self._submit = device, device.handle.queue.submit
        self._begin = method_of("GPUCommandEncoder", "beginComputePass")
        self._end = method_of("GPUComputePassEncoder", "end")
        self._copy = method_of("GPUCommandEncoder", "copyBufferToBuffer")
        self._finish = method_of("GPUCommandEncoder", "finish")
        self._label = js_object({"label": label})
        self._commands = Array.of(None)

    def submit(
        self,
        dispatches: Sequence[Dispatch],
        copies: Sequence[Copy] = (),
        timed: Any = None,
        *,
        first: Sequence[Copy] = (),
    ) -> None:
        """Start the copies in `first`, the dispatches in order, then the other copies, and return at once.

        timed: a GPUComputePassDescriptor to use instead of the default one, with timestampWrites.
        """
        encoder = self._device.handle.createCommandEncoder(self._label)
        self._encode_copies(encoder, first)
        compute = self._begin(encoder, timed or self._label)
        if isinstance(dispatches, CommandList) and dispatches.recorded is not None:
            replay(compute, dispatches.recorded)
        else:
            _encode(compute, dispatches)
        self._end(compute)
        self._encode_copies(encoder, copies)
        self._commands[0] = self._finish(encoder)
        self._submit(self._commands)

    def _encode_copies(self, encoder: Any, copies: Sequence[Copy]) -> None:
        for copy in copies:
            source, target = copy.source, copy.target
            source_offset, offset = source.offset + copy.source_offset, target.offset + copy.offset
            self._copy(encoder, source.handle, source_offset, target.handle, offset, copy.n_bytes)

    async def read(self, buffer: Buffer) -> NDArray[np.uint8]:
        """Return the bytes of a buffer after the submitted work: uint8 (n_bytes,). Raises DeviceLost or GpuFault.

        For checks; a step keeps its own `Readback`.
        """
        readback = Readback(self._device, f"{buffer.label}.read", buffer.n_bytes, 1)
        slot = readback.acquire()
        self.submit([], [Copy(buffer, slot, 0, buffer.n_bytes)])
        content = await readback.read(slot, buffer.n_bytes)
        readback.destroy()
        return content


def _encode(compute: Any, dispatches: Sequence[Dispatch]) -> None:
    """Encode dispatches into a compute pass."""
    set_pipeline, set_bind_group, run = compute.setPipeline, compute.setBindGroup, compute.dispatchWorkgroups
    for _, pipeline, bind_group, n_workgroups in dispatches:
        set_pipeline(pipeline)
        set_bind_group(0, bind_group)
        run(n_workgroups)
