"""Confidences and alternatives of words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.app.golden import GOLDEN, golden
from tympan.confidence import Calibration, log_odds
from tympan.errors import BadModel
from tympan.text.captions import vtt
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Alternative, Word, WordBuilder
from tympan.weights.manifest import Manifest

TOKENIZER = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
PAD, BOUNDARY = 3, 0


def piece(text: str) -> int:
    return TOKENIZER.pieces.index(text.encode())


def words_of(steps: list[tuple[int, float, list[tuple[int, float]]]]) -> list[Word]:
    builder = WordBuilder(golden().lm_config, TOKENIZER)
    return [word for step in steps for word in builder.push(*step)] + builder.finish(5.0)


def test_the_default_is_the_probability_of_the_tokens() -> None:
    assert Calibration().confidence([0.9, 0.5]) == pytest.approx(0.45, abs=1e-4)
    assert Calibration().confidence([1.0]) > 0.999
    assert Calibration().confidence([0.0, 1e-30]) == pytest.approx(1e-4)


def test_a_calibration_is_monotone_and_within_bounds() -> None:
    calibration = Calibration(1.7, -0.4)
    values = [calibration.confidence([p]) for p in np.linspace(0, 1, 101)]
    assert values == sorted(values)
    assert 0 <= values[0] < values[-1] <= 1
    assert log_odds(0.5) == 0


def test_a_word_has_the_confidence_of_all_its_tokens() -> None:
    the, he = piece("▁the"), piece("he")
    (word,) = words_of([(BOUNDARY, 0.3, []), (the, 0.8, []), (he, 0.5, []), (PAD, 0.2, [])])
    assert word.confidence == pytest.approx(0.4, abs=1e-4)
    assert word.alternatives == ()


def test_alternatives_replace_the_least_certain_token() -> None:
    the, t, a, he = (piece(text) for text in ("▁the", "▁t", "▁a", "he"))
    others = [(t, 0.3), (he, 0.1), (PAD, 0.05)]  # the second would not begin a word, the third is none
    (word,) = words_of([(BOUNDARY, 1.0, []), (the, 0.5, others), (he, 0.9, [(a, 0.1)]), (PAD, 1.0, [])])
    assert word.alternatives == (Alternative("the", Calibration().confidence([0.3, 0.9])),)
    assert word.text == "thehe"


def test_a_text_is_offered_once() -> None:
    the, t, he = (piece(text) for text in ("▁the", "▁t", "he"))
    (word,) = words_of([(t, 0.4, [(the, 0.3), (the, 0.2)]), (PAD, 1.0, [])])
    assert [other.text for other in word.alternatives] == ["the"]
    (word,) = words_of([(t, 0.4, [(t, 0.3)]), (he, 0.9, []), (PAD, 1.0, [])])
    assert word.alternatives == ()


def test_words_survive_json() -> None:
    word = Word("two", 1.0, 1.4, 0.25, (Alternative("to", 0.2),))
    assert Word.from_json(json.loads(json.dumps(word.to_json()))) == word
    assert Word.from_json({"text": "two", "start": 1.0, "end": 1.4}).confidence == 1.0


def test_doubtful_words_have_a_class_in_webvtt() -> None:
    text = vtt([Word("sure", 0, 1, 0.9), Word("<unsure>", 1, 2, 0.2), Word("again", 9, 9.5, 0.5)])
    assert "\nsure <c.doubtful>&lt;unsure&gt;</c>\n" in text
    assert text.endswith("\nagain\n")


def test_the_manifest_keeps_a_calibration() -> None:
    manifest = golden_manifest()
    assert manifest.calibration is None
    kept = manifest.with_calibration(Calibration(1.2, -0.3))
    assert Manifest.parse(kept.serialize().encode()) == kept


@pytest.mark.parametrize("value", [[], {"slope": 1.2}, {"slope": "1", "offset": 0.1}, {"slope": -1.0, "offset": 0.1}])
def test_an_invalid_calibration_is_rejected(value: object) -> None:
    text = json.dumps(json.loads(golden_manifest().serialize()) | {"confidence": value})
    with pytest.raises(BadModel, match=r"slope|offset|confidence"):
        Manifest.parse(text.encode())


def golden_manifest() -> Manifest:
    """A manifest without a calibration."""
    path = GOLDEN.parents[2] / "static" / "models" / "demo" / "model.json"
    value = json.loads(path.read_text("utf-8"))
    value.pop("confidence", None)
    return Manifest.parse(json.dumps(value).encode())
