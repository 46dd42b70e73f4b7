"""The WebGPU backend: in float32 against the official outputs, quantized against the numpy backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.app.golden import golden
from tests.app.golden_lm import (
    heads_of,
    in_all_formats,
    in_q4,
    logits_of,
    official,
    official_tokens,
    reference_steps,
    with_q8_tables,
)
from tests.app.webgpu_backend import odd_model, run_in_page
from tests.conftest import PyodidePage
from tests.pairwise import pairwise
from tests.shaders.conftest import same_shapes, tuning_parameter
from tympan.lm.reference import Reference
from tympan.lm.webgpu.kernels import Shape, Tuning
from tympan.lm.weights import LMWeights

LOGIT_TOLERANCE = 1e-4
INTEGER_TOLERANCE = 5e-4  # of the largest logit, with Q4 multiplied in integers
HALF_TOLERANCE = 2e-3  # of the largest logit, with keys and values in half floats


def test_float32_equals_the_official_outputs(gpu_page: PyodidePage) -> None:
    steps = run_in_page(gpu_page, "result = await run(backend, frames, want_logits=True)")

    assert len(steps) > 3 * golden().lm_config.transformer.context, "the KV cache wraps"
    np.testing.assert_allclose(logits_of(steps), official("text_logits"), atol=LOGIT_TOLERANCE, rtol=0)
    assert [step.token for step in steps] == official_tokens()
    np.testing.assert_allclose(heads_of(steps), official("extra_heads"), atol=LOGIT_TOLERANCE, rtol=0)


@pytest.mark.parametrize("convert", [in_q4, with_q8_tables, in_all_formats])
def test_quantized_matrices_equal_numpy(gpu_page: PyodidePage, convert: Callable[[LMWeights], LMWeights]) -> None:
    weights = convert(golden().lm_weights)
    steps = run_in_page(gpu_page, "result = await run(backend, frames, want_logits=True)", weights)

    wanted = reference_steps(weights)
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]
    np.testing.assert_allclose(heads_of(steps), heads_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)


LAYOUTS = {
    "trees": Tuning(),
    "subgroups of 4": Tuning(4),
    "subgroups within and across lanes": Tuning(
        4, False, Shape(32, 4), Shape(64, 8), Shape(32, 2), Shape(32, 32), Shape(64, 16), Shape(8, 4)
    ),
    "integers": Tuning(4, True),
    "many small splits": Tuning(attention=16, n_split=4),
    "one lane": Tuning(0, True, **same_shapes(8, 1)),
}


@pytest.mark.parametrize("tuning", [tuning_parameter(tuning, id=name) for name, tuning in LAYOUTS.items()])
def test_every_tuning_equals_numpy(gpu_page: PyodidePage, tuning: Tuning) -> None:
    """Only with all formats in one model: tests/shaders runs every kernel with every format and layout."""
    weights = in_all_formats(golden().lm_weights)
    source = "result = await run(backend, frames[:40], want_logits=True)"
    steps = run_in_page(gpu_page, source, weights, tuning=tuning)

    wanted = reference_steps(weights)[:40]
    tolerance = INTEGER_TOLERANCE * np.abs(logits_of(wanted)).max() if tuning.has_integers else LOGIT_TOLERANCE
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=tolerance, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]


@pytest.mark.parametrize("convert", [lambda weights: weights, in_q4], ids=["f32", "q4"])
def test_half_float_kv_cache_changes_no_token(gpu_page: PyodidePage, convert: Callable[[LMWeights], LMWeights]) -> None:
    """The tokens are equal and the logits nearly so."""
    weights = convert(golden().lm_weights)
    steps = run_in_page(gpu_page, "result = await run(backend, frames, want_logits=True)", weights, kv_format="f16")

    wanted = reference_steps(weights)
    largest = np.abs(logits_of(wanted)).max()
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=HALF_TOLERANCE * largest, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]


@pytest.mark.parametrize(
    ("sizes", "context", "tuning"),
    pairwise([(20, 1, 7), (12, 6, 33), (38, 19, 5), (330, 3, 100)], [1, 5], [None, tuning_parameter(Tuning(4))]),
)
def test_sizes_that_are_no_multiple_of_a_block(
    gpu_page: PyodidePage, sizes: tuple[int, int, int], context: int, tuning: Tuning | None
) -> None:
    """sizes: the width, the number of heads, and the hidden width."""
    config, weights = odd_model(*sizes, context)
    codes = np.random.default_rng(5).integers(0, config.card, (7, config.n_codebooks)).astype(np.int32)
    fed = [None, *codes]
    reference = Reference(config, weights)
    state = reference.new_state()
    wanted = [reference.step(state, frame, want_logits=True).step for frame in fed]
    source = f"""
fed = [None, *np.array({codes.tolist()}, np.int32)]
result = await run(backend, fed, want_logits=True)
"""
    steps = run_in_page(gpu_page, source, weights, config, tuning=tuning)
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)
