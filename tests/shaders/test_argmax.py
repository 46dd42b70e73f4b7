"""argmax.wgsl: the index of the largest logit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel, sizes
from tympan.arrays import Float32
from tympan.lm.webgpu.kernels import Tuning

LOWEST = np.finfo(np.float32).min


def argmax(run_kernel: RunKernel, logits: Float32) -> int:
    padded = np.pad(logits, (0, -logits.size % 4), constant_values=np.float32(2e30))  # must be ignored
    words = np.array([[99_999], [77_777]], np.uint32)
    _, token, result = run_kernel("argmax", sizes(), padded, *words, tuning=Tuning(), n=logits.size)
    assert token[0] == result[0]
    return int(token[0])


@pytest.mark.parametrize("n", [1, 63, 64, 65, 2000, 8000])
def test_argmax_equals_numpy(run_kernel: RunKernel, rng: np.random.Generator, n: int) -> None:
    logits = rng.standard_normal(n, np.float32)

    assert argmax(run_kernel, logits) == logits.argmax()


@pytest.mark.parametrize("winners", [[0, 1], [63, 64], [3, 67, 199], [130, 66, 129], [199]])
def test_a_tie_gives_the_lowest_index(run_kernel: RunKernel, winners: list[int]) -> None:
    logits = np.full(200, -5, np.float32)
    logits[winners] = -1

    assert argmax(run_kernel, logits) == min(winners)


@pytest.mark.parametrize("value", [LOWEST, -1e9, 0, 1e30])
def test_equal_logits_give_index_0(run_kernel: RunKernel, value: float) -> None:
    assert argmax(run_kernel, np.full(70, value, np.float32)) == 0
