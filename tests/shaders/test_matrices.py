"""head.wgsl, gate_up.wgsl and down.wgsl: a matrix with a norm, an activation or a residual."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import (
    LAYOUT_PARAMETERS,
    RunKernel,
    assert_close,
    buffers_of,
    interleaved,
    padded_to_vec4,
    rounded,
    sizes,
    stream,
    tolerance_of,
)
from tympan.lm.reference import rms_norm, silu
from tympan.lm.webgpu.kernels import Tuning
from tympan.weights.matrix import FORMATS, Matrix, dense

ALL_FORMATS = pytest.mark.parametrize("matrix", FORMATS)
ALL_LAYOUTS = pytest.mark.parametrize("tuning", LAYOUT_PARAMETERS)


def random_matrix(rng: np.random.Generator, matrix: str, n: int, k: int) -> Matrix:
    return rounded(rng.standard_normal((n, k), np.float32), matrix)


@ALL_LAYOUTS
@ALL_FORMATS
@pytest.mark.parametrize(("n", "d"), [(1, 32), (5, 62), (67, 96), (131, 880), (300, 320), (3, 2)])
def test_head_equals_numpy(
    run_kernel: RunKernel, rng: np.random.Generator, tuning: Tuning, matrix: str, n: int, d: int
) -> None:
    weights = random_matrix(rng, matrix, n, d)
    x, alpha = rng.standard_normal((2, d), np.float32)

    *_, logits = run_kernel(
        "head", sizes(d), *buffers_of(weights), *stream(x, alpha), padded_to_vec4(np.zeros(n, np.float32)),
        tuning=tuning, matrix=matrix, n=n,
    )  # fmt: skip

    assert_close(logits[:n], dense(weights) @ rms_norm(x, alpha), tolerance_of(tuning, matrix))


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e12])
def test_norm_of_very_small_and_very_large_values(run_kernel: RunKernel, rng: np.random.Generator, size: float) -> None:
    weights = random_matrix(rng, "f32", 4, 64)
    x, alpha = np.float32(size) * rng.standard_normal(64, np.float32), np.ones(64, np.float32)

    *_, logits = run_kernel(
        "head", sizes(64), *buffers_of(weights), *stream(x, alpha), np.ones(4, np.float32), matrix="f32", n=4
    )

    assert_close(logits, dense(weights) @ rms_norm(x, alpha))


@ALL_LAYOUTS
@ALL_FORMATS
@pytest.mark.parametrize(("h", "d"), [(1, 2), (7, 20), (33, 64), (90, 128)])
def test_gate_up_equals_numpy(
    run_kernel: RunKernel, rng: np.random.Generator, tuning: Tuning, matrix: str, h: int, d: int
) -> None:
    weights = random_matrix(rng, matrix, 2 * h, d)
    x, alpha = rng.standard_normal((2, d), np.float32)

    *_, hidden = run_kernel(
        "gate_up", sizes(d), *buffers_of(weights), *stream(x, alpha), interleaved(np.zeros(h, np.float32)),
        tuning=tuning, matrix=matrix, h=h,
    )  # fmt: skip

    gate, value = np.split(dense(weights) @ rms_norm(x, alpha), 2)
    assert_close(hidden, interleaved(silu(gate) * value), tolerance_of(tuning, matrix))


def test_very_negative_gate_gives_zero(run_kernel: RunKernel) -> None:
    weights = np.array([[-1000, 0], [0, 0], [1000, 0], [0, 0]], np.float32)
    x = np.ones(2, np.float32)

    *_, hidden = run_kernel(
        "gate_up", sizes(2), weights, None, *stream(x, x), np.ones(32, np.float32), matrix="f32", h=2
    )

    np.testing.assert_allclose(hidden[:2], 0, atol=1e-20)


@ALL_LAYOUTS
@ALL_FORMATS
@pytest.mark.parametrize(("d", "h"), [(2, 1), (20, 7), (66, 33), (8, 5632)])
def test_down_equals_numpy(
    run_kernel: RunKernel, rng: np.random.Generator, tuning: Tuning, matrix: str, d: int, h: int
) -> None:
    weights = random_matrix(rng, matrix, d, h)
    hidden = rng.standard_normal(h, np.float32)
    before, alpha = rng.standard_normal((2, d), np.float32)
    zeros = [np.zeros_like(part) for part in stream(before, alpha)]

    *_, x, _, scaled, squares = run_kernel(
        "down", sizes(d), *buffers_of(weights), interleaved(hidden), None,
        padded_to_vec4(before), padded_to_vec4(alpha), *zeros,
        tuning=tuning, matrix=matrix, h=h,
    )  # fmt: skip

    wanted = before + dense(weights) @ hidden
    tolerance = tolerance_of(tuning, matrix)
    assert_close(x, padded_to_vec4(wanted), tolerance)
    for found, part in zip((scaled, squares), stream(wanted, alpha), strict=True):
        assert_close(found, part, 2 * tolerance)
