"""The measurement of confidences."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import area_under_curve, cross_validated, fit, score
from bench.plot import CHARTS, DOCS, Axis, Line, draw
from bench.tables import read_results
from bench.terms import rates_of
from tympan.cli.word_errors import aligned, n_errors
from tympan.confidence import log_odds


def test_words_are_scored_by_the_best_alignment() -> None:
    words = [{"text": text, "confidence": n / 10} for n, text in enumerate(["A", "red", "boat,", "sails"])]
    assert score(words, "a bread boat sails away") == [(0.0, True), (0.1, False), (0.2, True), (0.3, True)]
    assert score([{"text": "it's o", "confidence": 0.5}], "o") == [(0.5, False), (0.5, True)]


@pytest.mark.parametrize("seed", range(5))
def test_an_alignment_has_as_few_errors_as_possible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = ([*map(str, rng.integers(0, 4, rng.integers(0, 9)))] for _ in range(2))
    pairs = aligned(one, other)
    assert [a for a, _ in pairs if a is not None] == one
    assert [b for _, b in pairs if b is not None] == other
    assert sum(a != b for a, b in pairs) == n_errors(one, other)


def test_the_area_under_the_curve() -> None:
    right, wrong = [(0.9, True)] * 30, [(0.1, False)] * 30
    assert area_under_curve(right + wrong) == 1
    assert area_under_curve([(0.5, True)] * 30 + [(0.5, False)] * 30) == 0.5
    assert area_under_curve(right) is None


def test_the_fit_finds_the_calibration_of_its_words() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.uniform(0.02, 0.98, 20_000)
    x = np.array([log_odds(p) for p in probabilities])
    is_right = rng.random(x.size) < 1 / (1 + np.exp(-(0.6 * x + 0.5)))
    words = [(float(odds), bool(right)) for odds, right in zip(x, is_right, strict=True)]
    fitted = fit(words)
    assert [fitted.slope, fitted.offset] == pytest.approx([0.6, 0.5], abs=0.05)

    checked = cross_validated(words)
    assert checked["calibration_error"] < 0.02
    assert sum(part["n"] for part in checked["bins"]) == len(words)


def test_errors_on_terms_and_on_other_words_are_told_apart() -> None:
    results = [("call kipling now", "kipling", "call it kipling no"), ("see kipling", "kipling", "see kip lin")]
    assert rates_of(results) == {"term_errors": 0.5, "other_errors": 1.0, "n_terms": 2, "n_words": 3}


def test_a_chart_places_its_points() -> None:
    svg = draw(Axis("a", [0, 1]), Axis("b", [0, 10]), [Line("c & d", [(0, 0), (1, 10)])], diagonal=True)
    assert 'd="M60 318L540 24"' in svg
    assert "c &amp; d" in svg


def test_the_committed_charts_are_the_generated_ones() -> None:
    results = read_results()
    for name, draw_chart in CHARTS.items():
        path = DOCS / f"{name}.svg"
        assert path.exists() == (name in results)
        assert not path.exists() or path.read_text("utf-8") == draw_chart(results[name]), "run python -m bench.plot"
