from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel
from tympan.lm.reference import silu

TOLERANCE = 1e-6  # of the largest |out|


@pytest.mark.parametrize("h", [1, 64, 336, 880])
def test_gated_silu(run_kernel: RunKernel, rng: np.random.Generator, h: int) -> None:
    gate, value = inner = rng.standard_normal((2, h), np.float32)

    _, out = run_kernel("gated_silu", inner, np.full(h + 16, 7, np.float32), h=h)

    wanted = silu(gate) * value
    assert np.abs(out[:h] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert (out[h:] == 7).all()


def test_extreme_gates(run_kernel: RunKernel) -> None:
    inner = np.array([[-1e30, -100, 0, 100, 1e30], [1] * 5], np.float32)

    _, out = run_kernel("gated_silu", inner, np.zeros(5, np.float32), h=5)

    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[1:], [0, 0, 100, 1e30], atol=1e-6)
