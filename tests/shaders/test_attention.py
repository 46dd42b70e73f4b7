"""attention.wgsl, which computes splits, and out_proj.wgsl, which combines them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.pairwise import pairwise
from tests.shaders.conftest import (
    LAYOUT_PARAMETERS,
    RunKernel,
    assert_close,
    buffers_of,
    keys_in_cache_layout,
    padded_to_vec4,
    rounded,
    sizes,
    stream,
    tolerance_of,
    values_in_cache_layout,
)
from tympan.arrays import Float32
from tympan.lm.reference import attention
from tympan.lm.webgpu.kernels import Tuning
from tympan.weights.matrix import dense

CONTEXT = 125

SPLITS = [
    Tuning(attention=64, n_split=64),
    Tuning(attention=64, n_split=8),
    Tuning(attention=4, n_split=128),
    Tuning(attention=256, n_split=256),
]


def split_attention(
    run_kernel: RunKernel,
    tuning: Tuning,
    query: Float32,
    keys: Float32,
    values: Float32,
    n_keys: int,
    kv_format: str = "f32",
) -> Float32:
    """query (H, D), keys and values (S, H, D): the output of attention.wgsl, the splits and then their sums."""
    context, n_heads, head_width = keys.shape
    n_splits = -(-context // tuning.n_split)
    dtype = np.float16 if kv_format == "f16" else np.float32
    *_, out = run_kernel(
        "attention",
        sizes(n_heads * head_width, n_heads, context),
        np.array([0, n_keys], np.uint32),
        query / np.float32(np.sqrt(head_width)),
        keys_in_cache_layout(keys).astype(dtype),
        values_in_cache_layout(values).astype(dtype),
        np.zeros(n_splits * n_heads * (head_width + 2), np.float32),
        tuning=tuning,
        kv_format=kv_format,
    )
    return out


def combined(out: Float32, n_heads: int, head_width: int, n_used: int) -> Float32:
    """The splits combined as in out_proj.wgsl: float32 (H, D)."""
    n_splits = out.size // (n_heads * (head_width + 2))
    parts, sums = np.split(out, [n_splits * n_heads * head_width])
    parts = parts.reshape(n_splits, n_heads, head_width)[:n_used]
    highest, total = np.moveaxis(sums.reshape(n_splits, n_heads, 2)[:n_used], -1, 0)
    share = np.exp(highest - highest.max(0))
    return np.asarray((share[..., None] * parts).sum(0) / (share * total).sum(0)[:, None], np.float32)


@pytest.mark.parametrize(
    ("tuning", "heads", "n_keys"), pairwise(SPLITS, [(1, 2), (4, 32), (5, 6), (3, 128)], [1, 16, 63, CONTEXT])
)
def test_attention_equals_numpy(
    run_kernel: RunKernel, rng: np.random.Generator, tuning: Tuning, heads: tuple[int, int], n_keys: int
) -> None:
    n_heads, head_width = heads
    query = rng.standard_normal((n_heads, head_width), np.float32)
    keys, values = rng.standard_normal((2, CONTEXT, n_heads, head_width), np.float32)
    keys[n_keys:] = values[n_keys:] = 1e9  # slots that are not filled must not be read

    out = split_attention(run_kernel, tuning, query, keys, values, n_keys)

    found = combined(out, n_heads, head_width, -(-n_keys // tuning.n_split))
    np.testing.assert_allclose(found.reshape(-1), attention(query, keys[:n_keys], values[:n_keys]), rtol=0, atol=1e-5)


def test_attention_with_half_floats(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    query = rng.standard_normal((2, 64), np.float32)
    keys, values = rng.standard_normal((2, CONTEXT, 2, 64)).astype(np.float16).astype(np.float32)

    out = split_attention(run_kernel, SPLITS[0], query, keys, values, CONTEXT, kv_format="f16")

    np.testing.assert_allclose(combined(out, 2, 64, 2).reshape(-1), attention(query, keys, values), rtol=0, atol=1e-5)


def test_attention_with_huge_scores(run_kernel: RunKernel) -> None:
    """Scores far apart: the highest gets all the weight, and no exponent overflows."""
    query = np.full((1, 4), 100, np.float32)
    keys, values = np.array([[[-100] * 4], [[100] * 4], [[0] * 4]], np.float32), np.eye(3, 4, dtype=np.float32)

    out = split_attention(run_kernel, SPLITS[0], query, keys, values[:, None], 3)

    np.testing.assert_allclose(combined(out, 1, 4, 1)[0], values[1], atol=1e-6)


@pytest.mark.parametrize(
    ("tuning", "heads", "matrix", "n_used"),
    pairwise(LAYOUT_PARAMETERS, [(1, 2), (5, 6), (3, 64)], ["q4", "f32"], [1, 2]),
)
def test_out_proj_combines_splits_and_adds_the_projection(
    run_kernel: RunKernel,
    rng: np.random.Generator,
    tuning: Tuning,
    heads: tuple[int, int],
    matrix: str,
    n_used: int,
) -> None:
    n_heads, head_width = heads
    d = n_heads * head_width
    weights = rounded(rng.standard_normal((d, d), np.float32), matrix)
    x, alpha = rng.standard_normal((2, d), np.float32)
    splits = rng.standard_normal(2 * d, np.float32)
    sums = rng.uniform(1, 9, (2, n_heads, 2)).astype(np.float32)
    out = np.concatenate([splits, sums.reshape(-1)])
    zeros = [np.zeros_like(part) for part in stream(x, alpha)]

    *_, found, _, scaled, squares = run_kernel(
        "out_proj", sizes(d, n_heads, CONTEXT), *buffers_of(weights), np.array([0, 64 * n_used], np.uint32), out,
        padded_to_vec4(x), padded_to_vec4(alpha), *zeros, tuning=replace(tuning, n_split=64), matrix=matrix,
    )  # fmt: skip

    wanted = x + dense(weights) @ combined(out, n_heads, head_width, n_used).reshape(-1)
    tolerance = tolerance_of(tuning, matrix)
    assert_close(found, padded_to_vec4(wanted), tolerance)
    for part, wanted_part in zip((scaled, squares), stream(wanted, alpha), strict=True):
        assert_close(part, wanted_part, 2 * tolerance)
