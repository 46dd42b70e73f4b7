from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel
from tympan.lm.reference import attention
from tympan.rope import Rotation

MAX_PERIOD = 100_000


@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 2), (4, 32), (5, 64), (3, 128)])
@pytest.mark.parametrize("n_keys", [1, 2, 63, 125])
def test_attention(run_kernel: RunKernel, rng: np.random.Generator, n_heads: int, head_width: int, n_keys: int) -> None:
    context, d = 125, n_heads * head_width
    qkv = rng.standard_normal((3, d), np.float32)
    keys, values = rng.standard_normal((2, context, d), np.float32)
    keys[n_keys:] = values[n_keys:] = 1e9  # what lies past the filled slots must not be read
    place = np.array([0, n_keys], np.uint32)

    *_, out = run_kernel(
        "attention", place, qkv, keys, values, np.zeros(d, np.float32), d=d, head_width=head_width, context=context
    )

    heads = (-1, n_heads, head_width)
    wanted = attention(qkv[0].reshape(heads[1:]), keys[:n_keys].reshape(heads), values[:n_keys].reshape(heads))
    np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-5)


def test_attention_of_huge_scores(run_kernel: RunKernel) -> None:
    """Scores far apart: the winner takes all, and nothing overflows."""
    qkv = np.full((3, 4), 100, np.float32)
    keys, values = np.array([[-100] * 4, [100] * 4, [0] * 4], np.float32), np.eye(3, 4, dtype=np.float32)

    *_, out = run_kernel(
        "attention", np.array([0, 3], np.uint32), qkv, keys, values, np.zeros(4, np.float32),
        d=4, head_width=4, context=3,
    )  # fmt: skip

    np.testing.assert_allclose(out, values[1], atol=1e-6)


@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 2), (4, 32), (5, 64), (3, 128)])
@pytest.mark.parametrize("position", [0, 6, 1_000_003])
def test_rope_cache(
    run_kernel: RunKernel, rng: np.random.Generator, n_heads: int, head_width: int, position: int
) -> None:
    context, d = 7, n_heads * head_width
    slot = position % context
    rotation = Rotation.at(position, 1, head_width, MAX_PERIOD)
    rotations = np.stack([rotation.cos[0], rotation.sin[0]], axis=-1)
    qkv = rng.standard_normal((3, d), np.float32)
    keys, values = rng.standard_normal((2, context, d), np.float32)
    place = np.array([slot, min(position + 1, context)], np.uint32)

    _, _, qkv_after, keys_after, values_after = run_kernel(
        "rope_cache", place, rotations, qkv, keys, values, d=d, head_width=head_width
    )

    q, k, v = qkv.reshape(3, 1, n_heads, head_width)
    keys[slot], values[slot] = rotation.apply(k).reshape(d), v.reshape(d)
    np.testing.assert_allclose(qkv_after[0], rotation.apply(q).reshape(d), rtol=0, atol=1e-6)
    np.testing.assert_allclose(keys_after, keys, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(values_after, values)
