"""embed.wgsl: the sum of rows of the embedding tables."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pairwise import pairwise
from tests.shaders.conftest import (
    LAYOUT_PARAMETERS,
    RunKernel,
    assert_close,
    buffers_of,
    padded_to_vec4,
    rounded,
    sizes,
    stream,
)
from tympan.lm.webgpu.kernels import Tuning
from tympan.weights.matrix import FORMATS, dense

TEXT_ROW, N_TEXT_ROWS = 21, 12
ROWS = np.array([0, 20, 7], np.uint32)
TOKEN = np.array([N_TEXT_ROWS - 1], np.uint32)


@pytest.mark.parametrize(
    ("tuning", "d", "has_text", "matrix"), pairwise(LAYOUT_PARAMETERS, [32, 102, 320], [False, True], FORMATS)
)
def test_embed_sums_the_rows(
    run_kernel: RunKernel,
    rng: np.random.Generator,
    tuning: Tuning,
    d: int,
    has_text: bool,
    matrix: str,
) -> None:
    accumulate = not has_text
    tables = rounded(rng.standard_normal((TEXT_ROW + N_TEXT_ROWS, d), np.float32), matrix)
    before, alpha = rng.standard_normal((2, d), np.float32)
    zeros = [np.zeros_like(part) for part in stream(before, alpha)]

    *_, x, _, scaled, squares = run_kernel(
        "embed", sizes(d), *buffers_of(tables), ROWS, TOKEN,
        padded_to_vec4(before), padded_to_vec4(alpha), *zeros, tuning=tuning,
        matrix=matrix, n_tables=len(ROWS), text_row=TEXT_ROW if has_text else -1, accumulate=accumulate,
    )  # fmt: skip

    rows = dense(tables)
    wanted = rows[ROWS].sum(0) + rows[TEXT_ROW + int(TOKEN[0])] * has_text + before * accumulate
    assert_close(x, padded_to_vec4(wanted))
    for found, part in zip((scaled, squares), stream(wanted, alpha), strict=True):
        assert_close(found, part)


def test_embed_of_the_text_table_alone(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    table, no_rows = rng.standard_normal((N_TEXT_ROWS, 48), np.float32), np.zeros(1, np.uint32)
    x, alpha = np.zeros((2, 48), np.float32)

    *_, x, _, _, _ = run_kernel(
        "embed", sizes(48), table, None, no_rows, TOKEN, x, alpha, *stream(x, alpha),
        matrix="f32", n_tables=0, text_row=0, accumulate=False,
    )  # fmt: skip

    np.testing.assert_array_equal(x, table[TOKEN[0]])
