"""The attention in splits, and the projection that puts them together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import (
    LAYOUTS,
    RunKernel,
    assert_close,
    buffers_of,
    in_quads,
    keys_as_ring,
    sizes,
    stream,
    tolerance_of,
    values_as_ring,
)
from tympan.arrays import Float32
from tympan.lm.reference import attention
from tympan.weights.matrix import dense
from tympan.weights.q4 import quantize

CONTEXT = 125

SPLITS = [
    "Tuning(attention=64, n_split=64)",
    "Tuning(attention=64, n_split=8)",
    "Tuning(attention=4, n_split=128)",
    "Tuning(attention=256, n_split=256)",
]


def split_attention(
    run_kernel: RunKernel, tuning: str, query: Float32, keys: Float32, values: Float32, n_keys: int, ring: str = "f32"
) -> Float32:
    """query (H, D), keys and values (S, H, D): what attention.wgsl leaves, the splits and then their sums."""
    context, n_heads, head_width = keys.shape
    n_split = int(tuning.split("n_split=")[1].rstrip(")"))
    n_splits = -(-context // n_split)
    dtype = np.float16 if ring == "f16" else np.float32
    *_, out = run_kernel(
        "attention",
        sizes(n_heads * head_width, n_heads, context),
        np.array([0, n_keys], np.uint32),
        query / np.float32(np.sqrt(head_width)),
        keys_as_ring(keys).astype(dtype),
        values_as_ring(values).astype(dtype),
        np.zeros(n_splits * n_heads * (head_width + 2), np.float32),
        tuning=tuning,
        ring=ring,
    )
    return out


def together(out: Float32, n_heads: int, head_width: int, n_used: int) -> Float32:
    """What out_proj.wgsl makes of the splits: float32 (H, D)."""
    n_splits = out.size // (n_heads * (head_width + 2))
    parts, sums = np.split(out, [n_splits * n_heads * head_width])
    parts = parts.reshape(n_splits, n_heads, head_width)[:n_used]
    highest, total = np.moveaxis(sums.reshape(n_splits, n_heads, 2)[:n_used], -1, 0)
    share = np.exp(highest - highest.max(0))
    return np.asarray((share[..., None] * parts).sum(0) / (share * total).sum(0)[:, None], np.float32)


@pytest.mark.parametrize("tuning", SPLITS)
@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 2), (4, 32), (5, 6), (3, 128)])
@pytest.mark.parametrize("n_keys", [1, 16, 63, CONTEXT])
def test_attention(
    run_kernel: RunKernel, rng: np.random.Generator, tuning: str, n_heads: int, head_width: int, n_keys: int
) -> None:
    query = rng.standard_normal((n_heads, head_width), np.float32)
    keys, values = rng.standard_normal((2, CONTEXT, n_heads, head_width), np.float32)
    keys[n_keys:] = values[n_keys:] = 1e9  # what lies past the filled slots must not be read

    out = split_attention(run_kernel, tuning, query, keys, values, n_keys)

    n_split = int(tuning.split("n_split=")[1].rstrip(")"))
    found = together(out, n_heads, head_width, -(-n_keys // n_split))
    np.testing.assert_allclose(found.reshape(-1), attention(query, keys[:n_keys], values[:n_keys]), rtol=0, atol=1e-5)


def test_attention_over_half_floats(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    query = rng.standard_normal((2, 64), np.float32)
    keys, values = rng.standard_normal((2, CONTEXT, 2, 64)).astype(np.float16).astype(np.float32)

    out = split_attention(run_kernel, SPLITS[0], query, keys, values, CONTEXT, ring="f16")

    np.testing.assert_allclose(together(out, 2, 64, 2).reshape(-1), attention(query, keys, values), rtol=0, atol=1e-5)


def test_attention_of_huge_scores(run_kernel: RunKernel) -> None:
    """Scores far apart: the winner takes all, and nothing overflows."""
    query = np.full((1, 4), 100, np.float32)
    keys, values = np.array([[[-100] * 4], [[100] * 4], [[0] * 4]], np.float32), np.eye(3, 4, dtype=np.float32)

    out = split_attention(run_kernel, SPLITS[0], query, keys, values[:, None], 3)

    np.testing.assert_allclose(together(out, 1, 4, 1)[0], values[1], atol=1e-6)


@pytest.mark.parametrize("tuning", LAYOUTS)
@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 2), (5, 6), (3, 64)])
@pytest.mark.parametrize("matrix", ["q4", "f32"])
@pytest.mark.parametrize("n_used", [1, 2])
def test_out_proj(
    run_kernel: RunKernel,
    rng: np.random.Generator,
    tuning: str,
    n_heads: int,
    head_width: int,
    matrix: str,
    n_used: int,
) -> None:
    d = n_heads * head_width
    values = rng.standard_normal((d, d), np.float32)
    weights = quantize(values) if matrix == "q4" else values
    x, alpha = rng.standard_normal((2, d), np.float32)
    splits = rng.standard_normal(2 * d, np.float32)
    sums = rng.uniform(1, 9, (2, n_heads, 2)).astype(np.float32)
    out = np.concatenate([splits, sums.reshape(-1)])
    nothing = [np.zeros_like(part) for part in stream(x, alpha)]

    *_, found, _, scaled, squares = run_kernel(
        "out_proj", sizes(d, n_heads, CONTEXT), *buffers_of(weights), np.array([0, 64 * n_used], np.uint32), out,
        in_quads(x), in_quads(alpha), *nothing, tuning=tuning.replace(")] * 6", ")] * 6, n_split=64"), matrix=matrix,
    )  # fmt: skip

    wanted = x + dense(weights) @ together(out, n_heads, head_width, n_used).reshape(-1)
    tolerance = tolerance_of(tuning, matrix)
    assert_close(found, in_quads(wanted), tolerance)
    for part, wanted_part in zip((scaled, squares), stream(wanted, alpha), strict=True):
        assert_close(part, wanted_part, 2 * tolerance)
