from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel
from tympan.arrays import Float32
from tympan.weights.q4 import BLOCK, quantize

TOLERANCE = 1e-5  # of the largest |y|

# One row; fewer rows than a workgroup has; sizes that no power of two divides; the widest row of the 1B model.
SIZES = [(1, 32), (5, 64), (67, 96), (131, 880), (300, 320), (9, 5632)]


def assert_close(found: Float32, wanted: Float32) -> None:
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize(("n_lanes", "accumulate"), [(1, False), (8, True), (32, False), (64, True)])
@pytest.mark.parametrize(("n", "k"), [*SIZES, (6, 1), (3, 33)])
def test_f32(run_kernel: RunKernel, rng: np.random.Generator, n: int, k: int, n_lanes: int, accumulate: bool) -> None:
    w = rng.standard_normal((n, k), np.float32)
    x, before = rng.standard_normal(k, np.float32), rng.standard_normal(n, np.float32)

    _, _, y = run_kernel("matvec_f32", w, x, before, n=n, k=k, n_lanes=n_lanes, accumulate=accumulate)

    assert_close(y, w @ x + before * accumulate)


@pytest.mark.parametrize(("n_lanes", "accumulate"), [(1, False), (8, True), (32, False), (64, True)])
@pytest.mark.parametrize(("n", "k"), [*SIZES, (3, 33)])
def test_q4(run_kernel: RunKernel, rng: np.random.Generator, n: int, k: int, n_lanes: int, accumulate: bool) -> None:
    w = quantize(rng.standard_normal((n, k), np.float32))
    x, before = rng.standard_normal(k, np.float32), rng.standard_normal(n, np.float32)
    padded = np.pad(x, (0, -k % BLOCK))

    *_, y = run_kernel("matvec_q4", w.q4, w.scale, padded, before, n=n, k=k, n_lanes=n_lanes, accumulate=accumulate)

    assert_close(y, w.dequantize() @ x + before * accumulate)


def test_q4_writes_no_row_past_the_last(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    w = quantize(rng.standard_normal((5, 32), np.float32))

    *_, y = run_kernel(
        "matvec_q4", w.q4, w.scale, np.ones(32, np.float32), np.full(16, 7, np.float32), n=5, k=32, n_lanes=4
    )

    assert (y[5:] == 7).all()
