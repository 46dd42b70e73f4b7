"""What bench/lm.py measures of the WebGPU backend besides its time: bytes, bandwidth, and where a frame's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from tympan.gpu.buffers import Buffer
from tympan.gpu.device import Adapter, Device
from tympan.gpu.kernel import Dispatch, Queue, compile_source
from tympan.lm.webgpu import WebGPUBackend
from tympan.lm.weights import LMWeights
from tympan.weights.q4 import Q4Matrix

N_ROUNDS = 12
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


async def measure(lm: WebGPUBackend, weights: LMWeights, fill: int) -> dict[str, Any]:
    """Everything at one fill of the ring. Times in ms, bytes of one frame."""
    state = lm.new_state()
    state.position = fill
    lm.write_inputs(state, None)
    matvecs = [dispatch for dispatch in state.dispatches if _kind(dispatch) in MATVECS]
    kinds: dict[str, list[Dispatch]] = {}
    for dispatch in state.dispatches:
        kinds.setdefault(_kind(dispatch), []).append(dispatch)
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
        "whole_ms": await _time_ms(lm, state.dispatches),
        "kernels_ms": {kind: await _time_ms(lm, dispatches) for kind, dispatches in kinds.items()},
    }


def _kind(dispatch: Dispatch) -> str:
    return dispatch.label.split(".")[-1]


async def _time_ms(lm: WebGPUBackend, dispatches: Sequence[Dispatch]) -> float:
    """The median time of a pass of these dispatches, of passes that are submitted together."""
    times_ms = []
    n_passes = 1 if lm.device.info.is_software else 8
    for _ in range(N_ROUNDS):
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
