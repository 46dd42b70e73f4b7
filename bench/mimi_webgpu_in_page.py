"""The part of bench/mimi_webgpu.py that runs in the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from js import Uint8Array
from pyodide.ffi import JsException
from pyodide.http import pyfetch

from bench.lm_webgpu_in_page import read_gb_s, time_ms
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.errors import GpuError
from tympan.gpu.buffers import Buffer
from tympan.gpu.device import TIMESTAMPS, Device
from tympan.gpu.kernel import Compiler, Dispatch, compile_shader
from tympan.gpu.shaders import Shader
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.linear import Precision
from tympan.mimi.webgpu.encoder import MAX_FRAMES, MimiGpu
from tympan.mimi.webgpu.kernels import NEVER, MimiGpuKernels, Search, Tile, Tuning
from tympan.mimi.webgpu.model import Matrix, Model
from tympan.wasm import module
from tympan.weights.safetensors import SafetensorsFile

N_WARM = 10  # frames or calls that are not counted
MIN_PASS_S, N_ROUNDS = 0.005, 3  # of each group of kernels
N_PENDING = 2  # calls that are pending at the same time, as for files
BATCHES = (1, 8, 32)  # frames of the calls that the GPU's clock measures
N_FMA_WORKGROUPS, N_FMA_ROUNDS = 4096, 2048

_FMA = """
override n: u32;
@group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = vec4<f32>(1.0 + 1e-6 * f32(id.x));
    let y = vec4<f32>(1e-6 * f32(id.x));
    var a = vec4<f32>(f32(id.x));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    for (var i = 0u; i < n; i++) {
        a = fma(a, x, y);
        b = fma(b, x, y);
        c = fma(c, x, y);
        d = fma(d, x, y);
    }
    if (a.x == 1.5) {
        result[id.x % 16] = a + b + c + d;
    }
}
"""

# Other parameters, measured with --layouts. With n_tiles = 0 every product is in tiles, with a large one none.
LAYOUTS = [
    Tuning(n_tiles=0),
    Tuning(n_tiles=NEVER),
    Tuning(n_tiles=NEVER, n_lane_loads=16),
    Tuning(tile=Tile(8, 4, 4), n_tiles=0),
    Tuning(search=Search(n_splits=16)),
    Tuning(search=Search(n_lanes=4, n_splits=32)),
    Tuning(search=Search(n_lanes=16)),
    Tuning(search=Search(128, 4)),
]


class Fetched:
    """A `File` outside of Python's memory."""

    def __init__(self, buffer: Any) -> None:
        self._content = Uint8Array.new(buffer)
        self.n_bytes: int = self._content.length

    def read(self, offset: int, n_bytes: int) -> Any:
        return np.frombuffer(self._content.subarray(offset, offset + n_bytes).to_bytes(), np.uint8)


async def measure(
    url: str, audio_url: str, config_json: dict[str, Any], n_checked: int, n_frames: int, with_layouts: bool
) -> dict[str, Any]:
    """Compare the codes with those of the CPU in float32, then measure both. Times in ms per frame."""
    module.use("auto")
    config = MimiConfig.from_json(config_json, config_json["quantizer"]["n_q"])
    tensors = SafetensorsFile(Fetched(await (await pyfetch(url)).js_response.arrayBuffer()), url)
    samples = np.frombuffer(await (await pyfetch(audio_url)).bytes(), np.float32)
    frames = samples[: n_frames * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    started_s = perf_counter()
    gpu = await MimiGpu.create(config, tensors)
    await gpu.device.wait_until_done()
    load_s = perf_counter() - started_s
    result: dict[str, Any] = {
        "runs_on": gpu.runs_on,
        "vendor": gpu.device.info.vendor,
        "has_clock": bool(gpu.device.handle.features.has(TIMESTAMPS)),
        "load_s": load_s,
        "weight_bytes": gpu.model.n_bytes,
        "scratch_bytes": sum(buffer.n_bytes for buffer in gpu.model.scratch.values()),
        "stream_bytes": sum(buffer.n_bytes for buffer in gpu.new_state().stream.buffers),
    }
    exact = Mimi(config, MimiWeights.from_tensors(config, tensors, Precision.FLOAT32))
    wanted = await codes_of(exact, frames[:n_checked], 8)
    for n_together in (1, 32):
        found = await codes_of(gpu, frames[:n_checked], n_together)
        result[f"equal_codes_{n_together}"] = float((found == wanted).mean())
        result[f"equal_first_codes_{n_together}"] = float((found == wanted)[:, 0].mean())
    del exact
    print("checked", result)
    result["live_ms"], result["live_start_ms"] = await live_ms(gpu, frames)
    result["files_ms"] = {n: await files_ms(gpu, frames, n) for n in (8, 16, 32)}
    print("live and files", result)
    cpu = Mimi(config, MimiWeights.from_tensors(config, tensors))
    result["cpu_live_ms"], _ = await live_ms(cpu, frames[: n_checked // 2])
    result["cpu_files_ms"] = await files_ms(cpu, frames[:n_checked], 8)
    del cpu
    result["read_gb_s"], result["fma_gflops"] = await read_gb_s(gpu.device), await fma_gflops(gpu.device)
    result["kernels"] = await kernels_ms(gpu)
    result["layouts"] = [await layout(gpu, tuning) for tuning in LAYOUTS] if with_layouts else []
    gpu.close()
    return result


async def codes_of(encoder: Any, frames: Any, n_together: int) -> Any:
    state = encoder.new_state()
    parts = [frames[start : start + n_together] for start in range(0, len(frames), n_together)]
    return np.concatenate([await encoder.start(state, part) for part in parts])


async def live_ms(encoder: Any, frames: Any) -> tuple[list[float], list[float]]:
    """Of every frame, each awaited before the next: until its codes are there, and until `start` returns."""
    state, times_ms, start_ms = encoder.new_state(), [], []
    for frame in frames:
        started_s = perf_counter()
        pending = encoder.start(state, frame[None])
        start_ms.append((perf_counter() - started_s) * 1000)
        await pending
        times_ms.append((perf_counter() - started_s) * 1000)
    return times_ms[N_WARM:], start_ms[N_WARM:]


async def files_ms(encoder: Any, frames: Any, n_together: int) -> float:
    """Per frame, for all frames in calls of n_together, N_PENDING of which are pending."""
    state, pending = encoder.new_state(), []
    parts = [frames[start : start + n_together] for start in range(0, len(frames), n_together)]
    started_s = 0.0
    for i, part in enumerate(parts):
        if i == 1:
            started_s = perf_counter()  # the first call is not counted
        pending.append(encoder.start(state, part))
        if len(pending) == N_PENDING or i == 0:
            await pending.pop(0)
    for call in pending:
        await call
    return (perf_counter() - started_s) * 1000 / sum(map(len, parts[1:]))


async def kernels_ms(gpu: MimiGpu) -> dict[str, Any]:
    """By frames of a call and group of kernels: time by the GPU's clock, multiplications and bytes of weights."""
    found: dict[str, Any] = {}
    for n_frames in BATCHES:
        state = gpu.new_state()
        gpu.write_inputs(state, np.zeros((n_frames, FRAME_SAMPLES), np.float32))
        groups: dict[str, list[Dispatch]] = {}
        work: dict[str, list[int]] = {}
        for step in state.steps:
            dispatch = step.at(gpu.tuning, n_frames)
            if dispatch is None:
                continue
            group = group_of(dispatch.label)
            groups.setdefault(group, []).append(dispatch)
            macs, n_bytes = work_of(gpu, step, dispatch.label, step.n_frames(n_frames))
            total = work.setdefault(group, [0, 0])
            work[group] = [total[0] + macs, total[1] + n_bytes]
        groups["all"] = list(state.dispatches(gpu.tuning, n_frames))
        work["all"] = [sum(macs for macs, _ in work.values()), sum(n_bytes for _, n_bytes in work.values())]
        found[str(n_frames)] = {
            group: {
                "ms": await time_ms(gpu.device, dispatches, MIN_PASS_S, N_ROUNDS),
                "dispatches": len(dispatches),
                "macs": work[group][0],
                "weight_bytes": work[group][1],
            }
            for group, dispatches in groups.items()
        }
    return found


def group_of(label: str) -> str:
    """`mimi.layer3.linear1` -> `linear1`; the layers of SEANet keep their names."""
    return label.split(".")[-1] if ".layer" in label else label.removeprefix("mimi.").removesuffix(".conv.conv")


def work_of(gpu: MimiGpu, step: Any, label: str, n_frames: int) -> tuple[int, int]:
    """Multiplications, and bytes of weights, of a dispatch."""
    product, config = step.product, gpu.config
    if product is not None:
        width = {"f32": 4, "f16": 2, "i8": 1}[product.weights]
        return n_frames * product.rows_per_frame * product.n * product.k, product.n * product.k * width
    if label == "mimi.quantize":
        size = config.n_bins * config.quantizer_width
        return n_frames * size, gpu.model.codebooks[0].n_bytes // config.n_codebooks
    if label == "mimi.first":
        return n_frames * FRAME_SAMPLES * config.n_filters * config.kernel_size, 0
    return 2 * n_frames * 2 * config.transformer.context * config.transformer.d, 0


async def layout(gpu: MimiGpu, tuning: Tuning) -> dict[str, Any]:
    """The times of the groups with other parameters; the error where these are not supported."""
    try:
        async with gpu.device.error_scope("a layout"):
            kernels = await kernels_ms(await with_tuning(gpu, tuning))
    except (GpuError, JsException) as error:
        return {"tuning": repr(tuning), "error": str(error)}
    times = {n: {group: round(of["ms"], 5) for group, of in groups.items()} for n, groups in kernels.items()}
    print(tuning, {n: groups["all"] for n, groups in times.items()})
    return {"tuning": repr(tuning), "ms": times}


async def with_tuning(gpu: MimiGpu, tuning: Tuning) -> MimiGpu:
    """The same weights on the same device with other kernels."""
    config, model = gpu.config, gpu.model
    library = MimiGpuKernels(Compiler(gpu.device), tuning, config, model.n_slots)

    async def compiled(matrix: Matrix) -> Matrix:
        in_rows = await library.product(matrix.product, in_tiles=False)
        return replace(matrix, in_rows=in_rows, in_tiles=await library.product(matrix.product, in_tiles=True))

    async def all_of(part: Any, names: Sequence[str]) -> Any:
        return replace(part, **{name: await compiled(getattr(part, name)) for name in names})

    layers = [await all_of(layer, ("in_proj", "out_proj", "linear1", "linear2")) for layer in model.layers]
    rows = layers[0].in_proj.product.rows_per_frame
    first_next = config.residual_kernel_size - 1
    changed: Model = replace(
        await all_of(model, ("last", "downsample", "project")),
        first=await library.first(config.n_filters, config.kernel_size, FRAME_SAMPLES, first_next),
        stages=tuple([await all_of(stage, ("wide", "narrow", "down")) for stage in model.stages]),
        layers=tuple(layers),
        attention=await library.attention(rows),
        quantize=await library.quantize(model.codebook_format, model.layout.n_words, MAX_FRAMES),
    )
    return MimiGpu(config, gpu.device, changed, tuning)


async def fma_gflops(device: Device) -> float:
    """The adapter's rate of float32 operations, a multiplication and an addition counted as two."""
    kernel = await compile_shader(device, Shader.from_text("fma", _FMA), N_FMA_WORKGROUPS, {"n": N_FMA_ROUNDS})
    elapsed_ms = await time_ms(device, [kernel.bind("fma", Buffer.new(device, "result", 256))])
    return N_FMA_WORKGROUPS * 256 * N_FMA_ROUNDS * 4 * 4 * 2 / elapsed_ms / 1e6
