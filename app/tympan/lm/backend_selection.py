"""Which backend runs the transformer, and why: what the page says of it.

A GPU leaves the CPU to Mimi, so `auto` takes it wherever there is a real one that keeps up. Where a CPU plays the GPU,
the same CPU does the work twenty times as fast through its vector instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from tympan.gpu.device import AdapterInfo
from tympan.lm.backend import Backend
from tympan.lm.simd.kernels import SimdKernels, simd_kernels
from tympan.lm.weights import LMWeights
from tympan.weights.blocks import BLOCK
from tympan.weights.matrix import Matrix
from tympan.weights.q4 import Q4Matrix

GPU_FAST_ENOUGH_MS = 20.0  # a frame: the quarter of one, which leaves no time to gain
N_TRIED = 6  # frames

_TRIED_SHAPE = (1024, 2048)
_TRIED_S = 0.02


REASONS = {
    "asked": "as the page was asked to",
    "gpu": "this browser offers a GPU",
    "gpu_lost": "the GPU was lost on the way",
    "gpu_slow": "the GPU takes {gpu_ms:.0f} ms a frame, this about {cpu_ms:.0f}",
    "no_gpu": "this browser's WebGPU has no GPU behind it",
    "no_simd": "this browser lacks WebAssembly SIMD",
    "no_webgpu": "this browser offers no WebGPU",
}


@dataclass(frozen=True)
class Reason:
    """Why the transformer runs where it does. `str` is a clause."""

    kind: str  # of REASONS
    fields: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return REASONS[self.kind].format(**self.fields)


@dataclass(frozen=True)
class Choice:
    """kinds: of backends, to be tried in turn, also when one is lost on the way. why: it is the first one."""

    kinds: tuple[str, ...]
    why: Reason


def choose(asked: str, adapter: AdapterInfo | None) -> Choice:
    """asked: a name, or `auto`. adapter: the GPU that the browser offers, if any."""
    if asked == "simd" and simd_kernels() is None:
        return Choice(("numpy",), Reason("no_simd"))
    if asked != "auto":
        return Choice((asked,), Reason("asked"))
    cpu = "numpy" if simd_kernels() is None else "simd"
    if adapter is None:
        return Choice((cpu,), Reason("no_webgpu"))
    if adapter.is_software:
        return Choice((cpu,), Reason("no_gpu"))
    return Choice(("webgpu", cpu), Reason("gpu"))


async def is_gpu_too_slow(lm: Backend, weights: LMWeights) -> Reason | None:
    """Measure for a moment whether the CPU would be faster than the GPU `lm` where that matters; if so, say it."""
    kernels = simd_kernels()
    if kernels is None or (gpu_ms := await _frame_ms(lm)) <= GPU_FAST_ENOUGH_MS:
        return None
    cpu_ms = n_multiplications(weights) / _multiplications_a_ms(kernels)
    return Reason("gpu_slow", {"gpu_ms": gpu_ms, "cpu_ms": cpu_ms}) if cpu_ms < gpu_ms else None


def n_multiplications(weights: LMWeights) -> int:
    """Multiplications of weights in a frame."""
    return sum(matrix.shape[0] * matrix.shape[1] for matrix in multiplied(weights))


def multiplied(weights: LMWeights) -> list[Matrix]:
    """The matrices that a frame is multiplied by."""
    matrices = [weights.text_linear]
    for layer in weights.layers:
        matrices += [layer.in_proj, layer.out_proj, layer.linear_in, layer.linear_out]
    return matrices


async def _frame_ms(lm: Backend) -> float:
    """The fastest of some frames, each awaited before the next one starts, as with a voice."""
    state, times_ms = lm.new_state(), []
    for _ in range(N_TRIED):
        begun_s = perf_counter()
        await lm.step(state, None)
        times_ms.append((perf_counter() - begun_s) * 1000)
    return min(times_ms)


def _multiplications_a_ms(kernels: SimdKernels) -> float:
    """How fast the CPU multiplies by Q4 matrices, measured for _TRIED_S."""
    n, k = _TRIED_SHAPE
    matrix = Q4Matrix(np.zeros((n, k // BLOCK, BLOCK // 2), np.uint8), np.ones((n, k // BLOCK), np.float16), k)
    out, x = np.empty(n, np.float32), np.ones(k, np.float32)
    call, times_s = kernels.matvec(out, kernels.pack(matrix), x), [perf_counter()]
    while times_s[-1] - times_s[0] < _TRIED_S:
        call()
        times_s.append(perf_counter())
    return n * k / (1000 * float(np.diff(times_s).min()))
