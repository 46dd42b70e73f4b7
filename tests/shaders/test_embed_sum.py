from __future__ import annotations

import numpy as np
import pytest

from tests.shaders.conftest import RunKernel
from tympan.weights.q4 import quantize

TOLERANCE = 1e-6
TEXT_ROW, N_TEXT_ROWS = 21, 12
ROWS = np.array([0, 20, 7], np.uint32)
TOKEN = np.array([N_TEXT_ROWS - 1], np.uint32)


@pytest.mark.parametrize("d", [32, 100, 320])
@pytest.mark.parametrize("has_text", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("q4", [False, True])
def test_embed_sum(
    run_kernel: RunKernel, rng: np.random.Generator, d: int, has_text: bool, accumulate: bool, q4: bool
) -> None:
    tables = quantize(rng.standard_normal((TEXT_ROW + N_TEXT_ROWS, d), np.float32))
    buffers = (tables.q4, tables.scale) if q4 else (tables.dequantize(),)
    before = rng.standard_normal(d, np.float32)

    *_, x = run_kernel(
        "embed_sum", *buffers, ROWS, TOKEN, before,
        d=d, n_rows=len(ROWS), text_row=TEXT_ROW if has_text else -1, q4=q4, accumulate=accumulate,
    )  # fmt: skip

    wanted = tables.rows(ROWS).sum(0) + tables.rows(TEXT_ROW + int(TOKEN[0])) * has_text + before * accumulate
    np.testing.assert_allclose(x, wanted, rtol=0, atol=TOLERANCE)


def test_text_alone(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    table, no_rows = rng.standard_normal((N_TEXT_ROWS, 48), np.float32), np.zeros(1, np.uint32)

    *_, x = run_kernel(
        "embed_sum", table, no_rows, TOKEN, np.zeros(48, np.float32),
        d=48, n_rows=0, text_row=0, q4=False, accumulate=False,
    )  # fmt: skip

    np.testing.assert_array_equal(x, table[TOKEN[0]])
