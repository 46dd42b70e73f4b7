from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel
from tympan.arrays import Float32
from tympan.lm.reference import rms_norm

TOLERANCE = 1e-6  # of the largest |y|


def normed(run_kernel: RunKernel, x: Float32, alpha: Float32) -> Float32:
    return run_kernel("rms_norm", x, alpha, np.zeros_like(x), d=x.size)[-1]


@pytest.mark.parametrize("d", [1, 63, 64, 128, 320, 2048])
def test_rms_norm(run_kernel: RunKernel, rng: np.random.Generator, d: int) -> None:
    x, alpha = rng.standard_normal((2, d), np.float32)

    wanted = rms_norm(x, alpha)

    assert np.abs(normed(run_kernel, x, alpha) - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_epsilon_rules_small_vectors(run_kernel: RunKernel) -> None:
    x, alpha = np.full(100, 1e-5, np.float32), np.ones(100, np.float32)

    np.testing.assert_allclose(normed(run_kernel, x, alpha), 1e-5 / np.sqrt(1e-8 + 1e-10), rtol=1e-5)


def test_zeros_stay_zeros(run_kernel: RunKernel) -> None:
    assert not normed(run_kernel, np.zeros(64, np.float32), np.ones(64, np.float32)).any()
