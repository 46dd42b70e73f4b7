"""The measurements of bench/lm.py for WebGPU only: bytes, bandwidth, and the time of each kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from tympan.errors import GpuError
from tympan.gpu.buffers import Buffer, Readback, Usage
from tympan.gpu.device import TIMESTAMPS, Device
from tympan.gpu.kernel import Compiler, Dispatch, Queue, compile_shader
from tympan.gpu.shaders import Shader
from tympan.gpu.webapi import Array, js_object
from tympan.lm.webgpu.backend import WebGPUBackend, WebGPUState
from tympan.lm.webgpu.kernels import Shape, Tuning, WebGPUKernels
from tympan.lm.webgpu.model import Vectors
from tympan.lm.weights import LMWeights
from tympan.weights.matrix import n_bytes_of

N_ROUNDS = 5
MIN_PASS_S, MAX_REPEATS = 0.02, 64  # of a pass that is timed
MATVECS = ("qkv", "out_proj", "gate_up", "down", "text_linear")
STREAM_BYTES, N_STREAMS = 1 << 26, 4  # in total larger than any cache
N_STREAM_WORKGROUPS = 2048

_STREAM = """
override n: u32;
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let stride = groups.x * 256;
    var sum = vec4<u32>();
    for (var i = id.x; i < n; i += 4 * stride) {
        sum += source[i] + source[i + stride] + source[i + 2 * stride] + source[i + 3 * stride];
    }
    if (sum.x + sum.y + sum.z + sum.w == 1) {
        result[id.x % 64] = sum.x;
    }
}
"""


# Other shapes of each kernel; the i-th of all kernels are measured together.
_LAYOUTS = {
    "qkv": [(32, 32), (64, 64), (128, 32)],
    "out_proj": [(256, 32), (256, 128), (128, 64)],
    "gate_up": [(64, 64), (128, 32), (64, 32)],
    "down": [(128, 128), (256, 128), (64, 64)],
    "head": [(64, 64), (128, 32), (64, 32)],
}
_ATTENTION = [(256, 64), (256, 128), (128, 128)]


async def measure(lm: WebGPUBackend, weights: LMWeights, fill: int, with_layouts: bool) -> dict[str, Any]:
    """All measurements at one fill of the KV cache. Times in ms, bytes per frame."""
    state = _filled(lm, fill)
    matvecs = [dispatch for dispatch in state.dispatches if _kind(dispatch) in MATVECS]
    n_bytes = _matvec_bytes(weights)
    rate_gb_s = await read_gb_s(lm.device)
    matvecs_ms = await time_ms(lm.device, matvecs)
    return {
        "adapter": lm.device.info.summary,
        "has_clock": bool(lm.device.handle.features.has(TIMESTAMPS)),
        "subgroup_width": lm.device.info.subgroup_width,
        "dispatches": len(state.dispatches),
        "matvec_bytes": n_bytes,
        "read_bytes": n_bytes + _kv_cache_bytes(lm, fill) + _table_bytes(weights),
        "read_gb_s": rate_gb_s,
        "matvecs_ms": matvecs_ms,
        "bandwidth_share": n_bytes / (matvecs_ms / 1000) / 1e9 / rate_gb_s,
        "kernels_ms": await _kernels_ms(lm, fill),
        "layouts": await _layouts(lm, fill) if with_layouts else [],
    }


async def _layouts(lm: WebGPUBackend, fill: int) -> list[dict[str, Any]]:
    """The time of each kernel, and of a frame, under other tunings; the error where one is not supported."""
    tunings = [replace(lm.tuning, subgroup_width=0), replace(lm.tuning, has_integers=not lm.tuning.has_integers)]
    for i, (attention, n_split) in enumerate(_ATTENTION):
        shapes: dict[str, Any] = {name: Shape(*layouts[i]) for name, layouts in _LAYOUTS.items()}
        tunings.append(replace(lm.tuning, attention=attention, n_split=n_split, **shapes))
    found: list[dict[str, Any]] = []
    for tuning in tunings:
        try:
            async with lm.device.error_scope("a layout"):
                kernels_ms = await _kernels_ms(await _with_layout(lm, tuning), fill)
            found.append({"tuning": repr(tuning), "kernels_ms": kernels_ms})
        except GpuError as error:
            found.append({"tuning": repr(tuning), "error": str(error)})
    return found


async def _with_layout(lm: WebGPUBackend, tuning: Tuning) -> WebGPUBackend:
    """The same weights on the same device with other kernels."""
    library = WebGPUKernels(Compiler(lm.device), tuning, lm.config.transformer, lm.kv_format)
    h = lm.model.layers[0].linear_out.k
    layers = [
        replace(
            layer,
            qkv=await library.qkv(layer.in_proj.format),
            project=await library.out_proj(layer.out_proj.format),
            gate_up=await library.gate_up(layer.linear_in.format, h),
            down=await library.down(layer.linear_out.format, h),
        )
        for layer in lm.model.layers
    ]
    model = replace(
        lm.model,
        layers=tuple(layers),
        attention=await library.attention(),
        text_head=await library.head(lm.model.text_linear.format, lm.config.text_card),
        vectors=Vectors.new(lm.device, lm.config, h, library.n_splits),
    )
    return WebGPUBackend(lm.config, lm.device, model, tuning, lm.kv_format)


def _filled(lm: WebGPUBackend, fill: int) -> WebGPUState:
    state = lm.new_state()
    state.position = fill
    lm.write_inputs(state, np.zeros((1, lm.config.n_codebooks), np.int32))
    return state


async def _kernels_ms(lm: WebGPUBackend, fill: int) -> dict[str, float]:
    """The time of all dispatches of each kernel in a frame, and of the whole frame as `all`."""
    state, kinds = _filled(lm, fill), dict[str, list[Dispatch]]()
    for dispatch in state.dispatches:
        kinds.setdefault(_kind(dispatch), []).append(dispatch)
    kinds["all"] = list(state.dispatches)
    return {kind: await time_ms(lm.device, dispatches) for kind, dispatches in kinds.items()}


def _kind(dispatch: Dispatch) -> str:
    return dispatch.label.split(".")[-1]


async def time_ms(
    device: Device, dispatches: Sequence[Dispatch], min_pass_s: float = MIN_PASS_S, n_rounds: int = N_ROUNDS
) -> float:
    """The time of these dispatches in order, by GPU timestamps where supported: the median of n_rounds passes.

    min_pass_s: the dispatches are repeated until a pass takes this long.
    """
    clock = _PassClock(device) if device.handle.features.has(TIMESTAMPS) else None
    queue, n_repeats = Queue(device, "bench"), 1
    while True:
        started_s = perf_counter()
        queue.submit(list(dispatches) * n_repeats, timed=clock.timed if clock else None)
        await device.wait_until_done()
        if perf_counter() - started_s > min_pass_s or n_repeats >= MAX_REPEATS:
            break
        n_repeats *= 2
    times_ms = []
    for _ in range(n_rounds):
        started_s = perf_counter()
        queue.submit(list(dispatches) * n_repeats, timed=clock.timed if clock else None)
        await device.wait_until_done()
        elapsed_ms = (perf_counter() - started_s) * 1000
        times_ms.append((await clock.read_ms() if clock else elapsed_ms) / n_repeats)
    return float(np.median(times_ms))


class _PassClock:
    """Measures a pass by GPU timestamps, which browsers round to 0.1 ms."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._times = device.handle.createQuerySet(js_object({"type": "timestamp", "count": 2}))
        self._resolved = Buffer.new(device, "bench.times", 16, Usage.QUERY_RESOLVE | Usage.COPY_SRC)
        self._readback = Readback(device, "bench.times", 16, 1)
        writes = {"querySet": self._times, "beginningOfPassWriteIndex": 0, "endOfPassWriteIndex": 1}
        self.timed = js_object({"timestampWrites": writes})

    async def read_ms(self) -> float:
        slot, encoder = self._readback.acquire(), self._device.handle.createCommandEncoder()
        encoder.resolveQuerySet(self._times, 0, 2, self._resolved.handle, 0)
        encoder.copyBufferToBuffer(self._resolved.handle, 0, slot.handle, 0, 16)
        self._device.handle.queue.submit(Array.of(encoder.finish()))
        begun_ns, ended_ns = (await self._readback.read(slot, 16)).view(np.uint64).tolist()
        return (ended_ns - begun_ns) / 1e6


async def read_gb_s(device: Device) -> float:
    """The adapter's bandwidth when it reads buffers that do not fit in a cache."""
    shader = Shader.from_text("stream", _STREAM)
    kernel = await compile_shader(device, shader, N_STREAM_WORKGROUPS, {"n": STREAM_BYTES // 16})
    sources = [Buffer.new(device, "source", STREAM_BYTES) for _ in range(N_STREAMS)]
    dispatches = [kernel.bind("stream", source, Buffer.new(device, "result", 256)) for source in sources]
    streams_ms = await time_ms(device, dispatches)
    for source in sources:
        source.destroy()
    return N_STREAMS * STREAM_BYTES / streams_ms / 1e6


def _matvec_bytes(weights: LMWeights) -> int:
    return sum(n_bytes_of(matrix) for matrix in weights.matrices())


def _kv_cache_bytes(lm: WebGPUBackend, fill: int) -> int:
    sizes = lm.config.transformer
    width = 2 if lm.kv_format == "f16" else 4
    return 2 * width * sizes.d * min(fill + 1, sizes.context) * sizes.n_layers


def _table_bytes(weights: LMWeights) -> int:
    return sum(n_bytes_of(table) // table.shape[0] for table in weights.tables)
