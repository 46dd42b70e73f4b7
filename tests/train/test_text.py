"""The sentences for the synthesizers, and those held out of training."""

from __future__ import annotations

import json
import lzma
import random
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

import pytest

from train.grammar import Grammar
from train.text import LABEL_CHARS, MAX_WORDS, is_held_out, label, sentences, shares_run
from train.text import test_runs as runs_of_tests


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt.xz"
    lines = [
        f"The {a} {n} is here."
        for a in ("old", "new", "red", "big", "odd")
        for n in Grammar(random.Random(0)).sentence().split()
    ]
    path.write_bytes(lzma.compress(("# 1\n" + "\n".join(lines) + "\n").encode()))
    return path


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        ("Turn on the light, please!", "turn on the light please"),
        ("It\u2019s a well-known fact.", "it's a well known fact"),
        ("'quoted' words", "quoted words"),
        ("at 5 o'clock", None),
        ("...", None),
    ],
)
def test_a_label_is_spelled_in_small_letters(spoken: str, expected: str | None) -> None:
    assert label(spoken) == expected


def test_the_grammar_says_what_can_be_labelled() -> None:
    grammar = Grammar(random.Random(1))
    labels = [label(grammar.sentence()) for _ in range(2000)]
    assert None not in labels
    assert len(set(labels)) > 1500


def test_training_and_test_sentences_never_meet(corpus: Path) -> None:
    trained = {text for _, text in islice(sentences(corpus, seed=1), 3000)}
    tested = {text for _, text in islice(sentences(corpus, seed=2, held_out=True), 60)}
    assert not trained & tested
    assert all(map(is_held_out, tested))
    assert all(len(text.split()) <= MAX_WORDS and set(text) <= set(LABEL_CHARS) for text in trained)


def test_text_of_a_test_set_is_recognized(tmp_path: Path) -> None:
    texts = ["Then they came back to the house.", "Turn it off", "Seven"]
    with ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("labels.json", json.dumps({f"{i}.opus": {"text": text} for i, text in enumerate(texts)}))
    barred = runs_of_tests([tmp_path / "set.zip"])
    assert shares_run("they came back to the garden", barred, shortest=3)
    assert shares_run("turn it off", barred, shortest=3)
    assert not shares_run("they came back to", barred, shortest=3)
    assert shares_run("seven", barred) and not shares_run("seven", barred, shortest=3)
