"""What bench/lm.py measures of the WebGPU backend besides its time: bytes, bandwidth, and where a frame's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from tympan.gpu.buffers import Buffer
from tympan.gpu.device import Adapter, Device
from tympan.gpu.kernel import Compiler, Dispatch, Queue, compile_source
from tympan.lm.gpu_model import Vectors
from tympan.lm.kernels import Kernels, Shape, Tuning
from tympan.lm.webgpu import State, WebGPUBackend
from tympan.lm.weights import LMWeights
from tympan.weights.q4 import Q4Matrix

N_ROUNDS, N_PASSES = 12, 8
N_SOFTWARE_ROUNDS = 2
MATVECS = ("qkv", "out_proj", "gate_up", "down", "text_linear")
STREAM_BYTES, SOFTWARE_STREAM_BYTES = 1 << 30, 1 << 25
N_STREAM_WORKGROUPS, STREAM_INVOCATIONS = 2048, 256

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


# Layouts beside the chosen one: each kernel in several, all of them tried at once.
_WIDE = [(64, 8), (64, 16), (64, 64), (128, 32), (256, 32), (32, 16), (32, 32)]
_OUT_PROJ = [(256, 32), (256, 128), (128, 32), (128, 64), (64, 32), (64, 64), (256, 16)]
_DOWN = [(64, 32), (64, 16), (128, 64), (128, 128), (256, 64), (256, 128), (32, 32)]
_ATTENTION = [(64, 32), (64, 64), (128, 32), (128, 64), (128, 128), (256, 32), (256, 128)]


async def measure(lm: WebGPUBackend, weights: LMWeights, fill: int, with_layouts: bool) -> dict[str, Any]:
    """Everything at one fill of the ring. Times in ms, bytes of one frame."""
    state = _filled(lm, fill)
    matvecs = [dispatch for dispatch in state.dispatches if _kind(dispatch) in MATVECS]
    n_bytes = _matvec_bytes(weights)
    read_gb_s = await _read_gb_s(lm.device.info.is_software)
    matvecs_ms = await _time_ms(lm, matvecs)
    return {
        "adapter": lm.device.info.summary,
        "subgroup_width": lm.device.info.subgroup_width,
        "dispatches": len(state.dispatches),
        "matvec_bytes": n_bytes,
        "read_bytes": n_bytes + _ring_bytes(lm, fill) + _table_bytes(weights),
        "read_gb_s": read_gb_s,
        "matvecs_ms": matvecs_ms,
        "bandwidth_share": n_bytes / (matvecs_ms / 1000) / 1e9 / read_gb_s,
        "kernels_ms": await _kernels_ms(lm, fill),
        "layouts": await _layouts(lm, fill) if with_layouts else [],
    }


async def _layouts(lm: WebGPUBackend, fill: int) -> list[dict[str, Any]]:
    """The time of each kernel in other layouts, and of all of them together."""
    found = []
    for wide, out_proj, down, attention in zip(_WIDE, _OUT_PROJ, _DOWN, _ATTENTION, strict=True):
        tuning = replace(
            lm.tuning,
            wide=Shape(*wide),
            out_proj=Shape(*out_proj),
            down=Shape(*down),
            attention=attention[0],
            n_split=attention[1],
        )
        other = await _with_layout(lm, tuning)
        found.append({"tuning": repr(tuning), "kernels_ms": await _kernels_ms(other, fill)})
    trees = await _with_layout(lm, replace(lm.tuning, subgroup_width=0))
    return [*found, {"tuning": repr(trees.tuning), "kernels_ms": await _kernels_ms(trees, fill)}]


async def _with_layout(lm: WebGPUBackend, tuning: Tuning) -> WebGPUBackend:
    """The same weights on the same device under other kernels."""
    library = Kernels(Compiler(lm.device), tuning, lm.config.transformer, lm.ring)
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
    return WebGPUBackend(lm.config, lm.device, model, tuning, lm.ring)


def _filled(lm: WebGPUBackend, fill: int) -> State:
    state = lm.new_state()
    state.position = fill
    lm.write_inputs(state, None)
    return state


async def _kernels_ms(lm: WebGPUBackend, fill: int) -> dict[str, float]:
    """The time of all dispatches of each kernel in a frame, one kernel after the other, then of the whole frame."""
    state, kinds = _filled(lm, fill), dict[str, list[Dispatch]]()
    for dispatch in state.dispatches:
        kinds.setdefault(_kind(dispatch), []).append(dispatch)
    kinds["all"] = state.dispatches
    return {kind: await _time_ms(lm, dispatches) for kind, dispatches in kinds.items()}


def _kind(dispatch: Dispatch) -> str:
    return dispatch.label.split(".")[-1]


async def _time_ms(lm: WebGPUBackend, dispatches: Sequence[Dispatch]) -> float:
    """The median time of a pass of these dispatches, of passes that are submitted together."""
    times_ms = []
    n_rounds, n_passes = (N_SOFTWARE_ROUNDS, 1) if lm.device.info.is_software else (N_ROUNDS, N_PASSES)
    for _ in range(n_rounds):
        await lm.device.settle()
        begun_s = perf_counter()
        for _ in range(n_passes):
            lm.queue.submit(dispatches)
        await lm.device.settle()
        times_ms.append((perf_counter() - begun_s) * 1000 / n_passes)
    return float(np.median(times_ms))


async def _read_gb_s(is_software: bool) -> float:
    """What this adapter reads out of a buffer that no cache holds, on a device of its own."""
    adapter = await Adapter.request()
    offered = int(adapter.handle.limits.maxStorageBufferBindingSize)
    n_bytes = SOFTWARE_STREAM_BYTES if is_software else min(STREAM_BYTES, offered // (1 << 25) * (1 << 25))
    device = await adapter.device({"maxBufferSize": n_bytes, "maxStorageBufferBindingSize": n_bytes})
    try:
        kernel = await compile_source(device, "stream", _STREAM, N_STREAM_WORKGROUPS, {"n": n_bytes // 16})
        source, result = Buffer.new(device, "source", n_bytes), Buffer.new(device, "result", 256)
        return n_bytes / await _best_s(device, kernel.on("stream", source, result)) / 1e9
    finally:
        device.close()


async def _best_s(device: Device, dispatch: Dispatch) -> float:
    """The time of one more dispatch, so that what a submit costs is not in it."""
    queue, times_s = Queue(device, "stream"), []
    for n in (1, 1, 1, 5, 5, 5):
        begun_s = perf_counter()
        queue.submit([dispatch] * n)
        await device.settle()
        times_s.append(perf_counter() - begun_s)
    return max(min(times_s[3:]) - min(times_s[:3]), 1e-9) / 4


def _matvec_bytes(weights: LMWeights) -> int:
    matrices = [weights.text_linear]
    for layer in weights.layers:
        matrices += [layer.in_proj, layer.out_proj, layer.linear_in, layer.linear_out]
    return sum(sum(matrix.n_bytes) if isinstance(matrix, Q4Matrix) else matrix.nbytes for matrix in matrices)


def _ring_bytes(lm: WebGPUBackend, fill: int) -> int:
    sizes = lm.config.transformer
    width = 2 if lm.ring == "f16" else 4
    return 2 * width * sizes.d * min(fill + 1, sizes.context) * sizes.n_layers


def _table_bytes(weights: LMWeights) -> int:
    tables = (*weights.embeddings, weights.text_embedding)
    return sum(
        sum(table.n_bytes) // table.shape[0] if isinstance(table, Q4Matrix) else table.nbytes // table.shape[0]
        for table in tables
    )
