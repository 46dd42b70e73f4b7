"""Selects the backend of the transformer, with the reason that the page shows.

`auto` selects the GPU wherever there is a hardware GPU that is fast enough. A software GPU is not selected: the SIMD
backend is twenty times as fast on the same CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tympan.gpu.device import AdapterInfo
from tympan.latency import frame_ms
from tympan.lm.backend import Backend
from tympan.lm.simd.kernels import SimdKernels, simd_kernels
from tympan.lm.weights import LMWeights
from tympan.reasons import Reason
from tympan.weights.blocks import BLOCK
from tympan.weights.q4 import Q4Matrix

GPU_FAST_ENOUGH_MS = 20.0  # per frame of 80 ms; below this the CPU is not considered

_MEASURED_SHAPE = (1024, 2048)  # of the matrix
_MEASURED_S = 0.02


@dataclass(frozen=True)
class Choice:
    """The selected backends.

    kinds: names in the order to try them, also when one is lost later. why: the reason for the first one.
    """

    kinds: tuple[str, ...]
    why: Reason


def choose(requested: str, adapter: AdapterInfo | None) -> Choice:
    """Select backends. requested: a backend's name, or `auto`. adapter: the GPU that the browser offers, if any."""
    if requested == "simd" and simd_kernels() is None:
        return Choice(("numpy",), Reason("no_simd"))
    if requested != "auto":
        return Choice((requested,), Reason("asked"))
    cpu = "numpy" if simd_kernels() is None else "simd"
    if adapter is None:
        return Choice((cpu,), Reason("no_webgpu"))
    if adapter.is_software:
        return Choice((cpu,), Reason("no_gpu"))
    return Choice(("webgpu", cpu), Reason("gpu"))


async def is_gpu_too_slow(lm: Backend, weights: LMWeights) -> Reason | None:
    """Measure whether the GPU backend `lm` is too slow and the CPU would be faster; return the reason if so."""
    kernels = simd_kernels()
    if kernels is None:
        return None
    state = lm.new_state()
    gpu_ms = await frame_ms(lambda: lm.step(state, None))
    if gpu_ms <= GPU_FAST_ENOUGH_MS:
        return None
    cpu_ms = n_multiplications(weights) / _multiplications_per_ms(kernels)
    return Reason("gpu_slow", {"gpu_ms": gpu_ms, "cpu_ms": cpu_ms}) if cpu_ms < gpu_ms else None


def n_multiplications(weights: LMWeights) -> int:
    """Multiplications by weights per step."""
    return sum(matrix.shape[0] * matrix.shape[1] for matrix in weights.matrices())


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
