"""Random models for benchmarks, and the chart of the results."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.chart import RESULTS, draw, shown
from bench.random_lm import hidden_width, random_codes, random_lm
from tests.app.golden import golden
from tympan.lm.reference import Reference


@pytest.mark.parametrize(
    ("dim", "hidden_scale", "hidden"), [(2048, 4.125, 5632), (2048, 4, 5376), (320, 4.125, 880), (128, 4.125, 352)]
)
def test_hidden_width_equals_the_official_one(dim: int, hidden_scale: float, hidden: int) -> None:
    assert hidden_width({"dim": dim, "hidden_scale": hidden_scale}) == hidden


def test_random_model_is_reproducible_and_has_varied_logits() -> None:
    config, codes = golden().lm_config, random_codes(golden().lm_config, 3)

    def logits() -> np.ndarray:
        reference = Reference(config, random_lm(config, 352))
        state = reference.new_state()
        steps = [reference.step(state, frame, want_logits=True).step for frame in codes]
        return np.stack([step.logits for step in steps if step.logits is not None])

    np.testing.assert_array_equal(logits(), logits())
    assert 0.3 < logits().std() < 3


def test_every_recorded_result_was_checked_and_is_in_the_chart() -> None:
    results = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("lm-*.json"))]
    assert results
    chart = "".join(ElementTree.fromstring(draw(results)).itertext())
    for result in results:
        assert result["lm"]["checked"]
        for times in result["lm"]["ring_fill"].values():
            assert shown(times["median_ms"]) in chart
