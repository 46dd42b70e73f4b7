"""Runs the WebGPU backend in a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.app.golden import golden
from tests.app.golden_lm import frames
from tests.conftest import PyodidePage
from tympan.arrays import Float32
from tympan.config import LMConfig, TransformerConfig
from tympan.lm.webgpu.kernels import KVFormat, Tuning
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.weights import q8
from tympan.weights.q4 import quantize

CREATE = """
import numpy as np
from tympan.lm.webgpu.backend import N_IN_FLIGHT, WebGPUBackend

backend = await WebGPUBackend.create(config, weights, kv_format=kv_format, tuning=tuning)

async def run(backend, frames, **options):
    state = backend.new_state()
    return [await backend.step(state, frame, **options) for frame in frames]
"""


def run_in_page(
    page: PyodidePage,
    source: str,
    weights: LMWeights | None = None,
    config: LMConfig | None = None,
    kv_format: KVFormat = "f32",
    tuning: Tuning | None = None,
) -> Any:
    """Run Python with an open `backend`; it must assign `result`. tuning: by default that of the adapter."""
    return page.run(
        f"{CREATE}\n{source}\nbackend.close()\nresult",
        config=config or golden().lm_config,
        weights=weights or golden().lm_weights,
        frames=frames(),
        kv_format=kv_format,
        tuning=tuning,
    )


def odd_model(d: int, n_heads: int, h: int, context: int) -> tuple[LMConfig, LMWeights]:
    """A random model with matrices of all formats."""
    config = replace(
        golden().lm_config,
        transformer=TransformerConfig(d, 2, n_heads, context, 1000.0),
        n_codebooks=3, card=9, text_card=11, n_extra_heads=0,
    )  # fmt: skip
    rng = np.random.default_rng(4)

    def random(n: int, k: int) -> Float32:
        return rng.standard_normal((n, k), np.float32) / np.float32(np.sqrt(k))

    def layer() -> LayerWeights:
        scales = (1 + rng.standard_normal((2, d), np.float32) / 5).astype(np.float32)
        in_proj, out_proj = quantize(random(3 * d, d)), random(d, d)
        return LayerWeights(scales[0], in_proj, out_proj, scales[1], random(2 * h, d), quantize(random(d, h)))

    tables = [random(config.card + 1, d) for _ in range(config.n_codebooks)]
    return config, LMWeights(
        embeddings=(tables[0], quantize(tables[1]), q8.quantize(tables[2])),
        text_embedding=quantize(random(config.text_card + 1, d)),
        layers=(layer(), layer()),
        out_norm=np.ones(d, np.float32),
        text_linear=quantize(random(config.text_card, d)),
        extra_heads=(),
    )
