"""Why a stage runs where it does: the sentences that the page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REASONS = {
    # of the transformer
    "asked": "selected in the address of the page",
    "gpu": "a GPU is available",
    "gpu_lost": "the GPU was lost during the recording",
    "gpu_slow": "the GPU takes {gpu_ms:.0f} ms per frame, the CPU about {cpu_ms:.0f}",
    "no_gpu": "WebGPU is emulated in software here",
    "no_simd": "this browser lacks WebAssembly SIMD",
    "no_webgpu": "this browser does not offer WebGPU",
    # of Mimi
    "mimi_on_gpu": "Mimi takes {gpu_ms:.1f} ms per frame on the GPU, {cpu_ms:.1f} on the CPU",
    "mimi_on_cpu": "Mimi takes {cpu_ms:.1f} ms per frame on the CPU, {gpu_ms:.1f} on the GPU",
    "with_transformer": "the transformer runs on the CPU",
}


@dataclass(frozen=True)
class Reason:
    """Why an implementation was selected. `str` returns a clause for the page."""

    kind: str  # a key of REASONS
    fields: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return REASONS[self.kind].format(**self.fields)
