"""The numpy backend against the official outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.app.golden import golden
from tests.awaiting import run
from tympan.arrays import Int32
from tympan.config import LMConfig
from tympan.errors import BadModel
from tympan.lm.backend import Step
from tympan.lm.reference import Reference, silu
from tympan.lm.weights import LMWeights

LOGIT_TOLERANCE = 1e-4


def run_steps(reference: Reference, codes: Int32) -> list[Step]:
    """Step 0, then one step per frame of codes (T, K)."""

    async def steps() -> list[Step]:
        state = reference.new_state()
        first = await reference.step(state, None, want_logits=True)
        return [first] + [await reference.step(state, frame, want_logits=True) for frame in codes]

    return run(steps())


def test_logits_tokens_and_extra_heads_equal_the_official_outputs() -> None:
    expected = golden().expected
    codes = expected["stream_codes"].T.astype(np.int32)
    assert len(codes) > 3 * golden().lm_config.transformer.context, "the KV cache wraps"
    steps = run_steps(Reference(golden().lm_config, golden().lm_weights), codes)
    logits = np.array([step.logits for step in steps])
    np.testing.assert_allclose(logits, expected["primed_text_logits"], atol=LOGIT_TOLERANCE, rtol=0)
    np.testing.assert_array_equal([step.token for step in steps], expected["primed_text_tokens"])
    heads = np.array([step.extra_heads for step in steps])
    np.testing.assert_allclose(heads, expected["primed_extra_heads"], atol=1e-5, rtol=0)


def test_direct_convention_equals_the_primed_one_without_the_first_frame() -> None:
    expected = golden().expected
    codes = expected["stream_codes"].T.astype(np.int32)
    steps = run_steps(Reference(golden().lm_config, golden().lm_weights), codes[1:])
    np.testing.assert_array_equal([step.token for step in steps], expected["direct_text_tokens"])


def test_one_more_slot_in_the_kv_cache_changes_the_tokens() -> None:
    sizes = golden().lm_config.transformer
    wider = replace(golden().lm_config, transformer=replace(sizes, context=sizes.context + 1))
    codes = golden().expected["stream_codes"].T.astype(np.int32)
    tokens = [step.token for step in run_steps(Reference(wider, golden().lm_weights), codes)]
    assert tokens != golden().expected["primed_text_tokens"].tolist()


def test_silu_does_not_overflow() -> None:
    x = np.array([-1e4, -100, 0, 1, 100], np.float32)
    np.testing.assert_allclose(silu(x), [0, 0, 0, 0.73105858, 100], atol=1e-6)


def test_wrong_shapes_and_missing_tensors_are_named() -> None:
    config = golden().lm_config
    with pytest.raises(BadModel, match=r"emb\.0\.weight is missing"):
        LMWeights.from_tensors(config, {})
    with pytest.raises(BadModel, match=r"emb\.0\.weight has shape \(3, 4\)"):
        LMWeights.from_tensors(config, {"emb.0.weight": np.zeros((3, 4), np.float32)})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dim", None, "wrong kind"),
        ("dim", 126, "rotary heads"),
        ("norm", "layer_norm", "not supported"),
        ("num_layers", 0, "impossible size"),
        ("delays", [0, 1], "acoustic delays"),
    ],
)
def test_invalid_config_is_rejected(key: str, value: object, message: str) -> None:
    good = {
        "card": 128, "n_q": 8, "dep_q": 0, "dim": 128, "text_card": 256, "num_heads": 4, "num_layers": 3,
        "context": 24, "max_period": 1e5,
    }  # fmt: skip
    assert LMConfig.from_json(good).transformer.head_width == 32
    with pytest.raises(BadModel, match=message):
        LMConfig.from_json(good | {key: value})
    with pytest.raises(BadModel, match="no key 'card'"):
        LMConfig.from_json({name: value for name, value in good.items() if name != "card"})
