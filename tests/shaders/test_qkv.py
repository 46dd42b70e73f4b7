"""qkv.wgsl: query, key and value, rotated and written to the KV cache."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pairwise import pairwise
from tests.shaders.conftest import (
    LAYOUT_PARAMETERS,
    RunKernel,
    assert_close,
    buffers_of,
    keys_in_cache_layout,
    rounded,
    sizes,
    stream,
    tolerance_of,
    values_in_cache_layout,
)
from tympan.lm.reference import rms_norm
from tympan.lm.webgpu.kernels import Tuning
from tympan.rope import Rotation
from tympan.weights.matrix import dense

CONTEXT = 7


@pytest.mark.parametrize(
    ("tuning", "heads", "formats", "position"),
    pairwise(LAYOUT_PARAMETERS, [(1, 2), (4, 32), (5, 6), (1, 128)], [("q4", "f32"), ("f32", "f16")], [6, 1_000_003]),
)
def test_qkv_equals_numpy(
    run_kernel: RunKernel,
    rng: np.random.Generator,
    tuning: Tuning,
    heads: tuple[int, int],
    formats: tuple[str, str],
    position: int,
) -> None:
    (n_heads, head_width), (matrix, kv_format) = heads, formats
    d, slot = n_heads * head_width, position % CONTEXT
    config = sizes(d, n_heads, CONTEXT)
    weights = rounded(rng.standard_normal((3 * d, d), np.float32), matrix)
    x, alpha = rng.standard_normal((2, d), np.float32)
    rotation = Rotation.at(position, 1, head_width, config.max_period)
    angles = np.stack([rotation.cos[0], rotation.sin[0]], axis=-1).reshape(-1)
    step = np.concatenate([np.array([slot, 1], np.uint32), angles.view(np.uint32)])
    dtype = np.float16 if kv_format == "f16" else np.float32
    keys, cached_values = rng.standard_normal((2, CONTEXT, n_heads, head_width), np.float32)

    *_, query, keys_after, values_after = run_kernel(
        "qkv", config, *buffers_of(weights), *stream(x, alpha), step,
        np.zeros(d, np.float32),
        keys_in_cache_layout(keys).astype(dtype), values_in_cache_layout(cached_values).astype(dtype),
        tuning=tuning, kv_format=kv_format, matrix=matrix,
    )  # fmt: skip

    q, k, v = (dense(weights) @ rms_norm(x, alpha)).reshape(3, 1, n_heads, head_width)
    keys[slot], cached_values[slot] = rotation.apply(k)[0], v[0]
    tolerance = tolerance_of(tuning, matrix)
    assert_close(query, (rotation.apply(q) / np.sqrt(head_width)).reshape(-1), tolerance)
    tolerance = 1e-3 if kv_format == "f16" else tolerance
    assert_close(keys_after.astype(np.float32), keys_in_cache_layout(keys), tolerance)
    assert_close(values_after.astype(np.float32), values_in_cache_layout(cached_values), tolerance)
