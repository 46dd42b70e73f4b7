from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import LAYOUTS, RunKernel, assert_close, buffers_of, sizes, stream
from tympan.lm.reference import rms_norm
from tympan.rope import Rotation
from tympan.weights.matrix import dense
from tympan.weights.q4 import quantize

CONTEXT = 7


@pytest.mark.parametrize("tuning", LAYOUTS)
@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 2), (4, 32), (5, 6), (1, 128)])
@pytest.mark.parametrize(("matrix", "ring"), [("q4", "f32"), ("f32", "f16")])
@pytest.mark.parametrize("position", [6, 1_000_003])
def test_qkv(
    run_kernel: RunKernel,
    rng: np.random.Generator,
    tuning: str,
    n_heads: int,
    head_width: int,
    matrix: str,
    ring: str,
    position: int,
) -> None:
    d, slot = n_heads * head_width, position % CONTEXT
    config = sizes(d, n_heads, CONTEXT)
    values = rng.standard_normal((3 * d, d), np.float32)
    weights = quantize(values) if matrix == "q4" else values
    x, alpha = rng.standard_normal((2, d), np.float32)
    rotation = Rotation.at(position, 1, head_width, config.max_period)
    angles = np.stack([rotation.cos[0], rotation.sin[0]], axis=-1).reshape(-1)
    step = np.concatenate([np.array([slot, 1], np.uint32), angles.view(np.uint32)])
    dtype = np.float16 if ring == "f16" else np.float32
    keys = rng.standard_normal((n_heads, head_width // 2, CONTEXT, 2)).astype(dtype)
    ring_values = rng.standard_normal((n_heads, CONTEXT, head_width)).astype(dtype)

    *_, query, keys_after, values_after = run_kernel(
        "qkv", config, *buffers_of(weights), *stream(x, alpha), step,
        np.zeros(d, np.float32), keys, ring_values, tuning=tuning, ring=ring, matrix=matrix,
    )  # fmt: skip

    q, k, v = (dense(weights) @ rms_norm(x, alpha)).reshape(3, 1, n_heads, head_width)
    keys[:, :, slot] = rotation.apply(k).reshape(n_heads, -1, 2)
    ring_values[:, slot] = v[0]
    tolerance = 1e-3 if ring == "f16" else 1e-5
    assert_close(query, (rotation.apply(q) / np.sqrt(head_width)).reshape(-1))
    assert_close(keys_after.astype(np.float32), keys.astype(np.float32), tolerance)
    assert_close(values_after.astype(np.float32), ring_values.astype(np.float32), tolerance)
