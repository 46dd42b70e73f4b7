"""Selects the backend of the transformer, and gives the reason, which the page shows.

A GPU leaves the CPU to Mimi, so `auto` selects it wherever there is a hardware GPU that is fast enough. A software GPU
is not selected: the SIMD backend is twenty times as fast on the same CPU.
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
from tympan.weights.q4 import Q4Matrix

GPU_FAST_ENOUGH_MS = 20.0  # per frame of 80 ms; below this the CPU is not considered
N_MEASURED = 6  # frames

_MEASURED_SHAPE = (1024, 2048)  # of the matrix
_MEASURED_S = 0.02


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
    """Why a backend was selected. `str` gives a clause to be shown."""

    kind: str  # a key of REASONS
    fields: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return REASONS[self.kind].format(**self.fields)


@dataclass(frozen=True)
class Choice:
    """The selected backends.

    kinds: names, to be tried in this order, also when one is lost later. why: the first one was selected.
    """

    kinds: tuple[str, ...]
    why: Reason


def choose(asked: str, adapter: AdapterInfo | None) -> Choice:
    """Select backends. asked: a backend's name, or `auto`. adapter: the GPU that the browser offers, if any."""
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
    """Measure whether the GPU backend `lm` is too slow and the CPU would be faster; return the reason if so."""
    kernels = simd_kernels()
    if kernels is None or (gpu_ms := await _frame_ms(lm)) <= GPU_FAST_ENOUGH_MS:
        return None
    cpu_ms = n_multiplications(weights) / _multiplications_per_ms(kernels)
    return Reason("gpu_slow", {"gpu_ms": gpu_ms, "cpu_ms": cpu_ms}) if cpu_ms < gpu_ms else None


def n_multiplications(weights: LMWeights) -> int:
    """Multiplications by weights per step."""
    return sum(matrix.shape[0] * matrix.shape[1] for matrix in weights.matrices())


async def _frame_ms(lm: Backend) -> float:
    """The time of the fastest of some frames, each awaited before the next one starts, as with live audio."""
    state, times_ms = lm.new_state(), []
    for _ in range(N_MEASURED):
        start_s = perf_counter()
        await lm.step(state, None)
        times_ms.append((perf_counter() - start_s) * 1000)
    return min(times_ms)


def _multiplications_per_ms(kernels: SimdKernels) -> float:
    """The CPU's speed at multiplying by Q4 matrices, measured for _MEASURED_S."""
    n, k = _MEASURED_SHAPE
    matrix = Q4Matrix(np.zeros((n, k // BLOCK, BLOCK // 2), np.uint8), np.ones((n, k // BLOCK), np.float16), k)
    out, x = np.empty(n, np.float32), np.ones(k, np.float32)
    call, times_s = kernels.matvec(out, kernels.pack(matrix), x), [perf_counter()]
    while times_s[-1] - times_s[0] < _MEASURED_S:
        call()
        times_s.append(perf_counter())
    return n * k / (1000 * float(np.diff(times_s).min()))
