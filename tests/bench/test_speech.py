"""Test sets of the word error rate, and its computation."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from train.text import is_held_out
from train.voices import HELD_OUT_STYLES
from tympan.cli.word_errors import n_errors, word_error_rate, words_of

SPEECH = Path(__file__).parents[2] / "bench" / "speech"


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [("one two three", 0), ("one three", 1), ("", 3), ("one too three four", 2), ("three two one", 2)],
)
def test_errors_count_insertions_deletions_and_substitutions(transcript: str, expected: int) -> None:
    assert n_errors(["one", "two", "three"], transcript.split()) == expected


def test_case_and_punctuation_are_ignored() -> None:
    assert words_of("It's 5 o'clock — now!") == ["it's", "5", "o'clock", "now"]
    assert word_error_rate("turn it off now", "Turn it, off.") == 0.25


HUMAN = ["human_sentences", "human_digits", "people_reading", "people_commonvoice", "people_accents"]


@pytest.mark.parametrize("name", ["unseen_sentences", "unseen_voices", *HUMAN])
def test_a_set_is_complete(name: str) -> None:
    with ZipFile(SPEECH / f"{name}.zip") as archive:
        labels = json.loads(archive.read("labels.json"))
        assert {*archive.namelist()} == {*labels, "labels.json"}
        assert all(archive.read(file).startswith(b"OggS") for file in labels)
    for label in labels.values():
        assert words_of(label["text"])
        if name.startswith("unseen"):
            assert is_held_out(label["text"])
            assert len(label["starts"]) == len(label["text"].split())


def test_nothing_is_said_in_the_set_of_noises() -> None:
    with ZipFile(SPEECH / "no_speech.zip") as archive:
        labels = json.loads(archive.read("labels.json"))
        assert {*archive.namelist()} == {*labels, "labels.json"}
    assert all(label["text"] == "" and label["seconds"] > 0 for label in labels.values())


def test_unseen_voices_are_those_held_out_of_training() -> None:
    with ZipFile(SPEECH / "unseen_voices.zip") as archive:
        voices = {label["voice"] for label in json.loads(archive.read("labels.json")).values()}
    assert voices == {*(f"kokoro:{style}" for style in HELD_OUT_STYLES), "flite:rms"}


def test_the_set_of_rare_names_is_complete() -> None:
    with ZipFile(SPEECH / "rare_names.zip") as archive:
        labels = json.loads(archive.read("labels.json"))
        distractors = json.loads(archive.read("distractors.json"))
        assert {*archive.namelist()} == {*labels, "labels.json", "distractors.json"}
        assert all(archive.read(file).startswith(b"OggS") for file in labels)
    assert len(labels) >= 80 and len({label["voice"] for label in labels.values()}) >= 4
    spoken = {word for label in labels.values() for word in label["text"].split()}
    assert all(label["text"].split().count(label["term"]) == 1 for label in labels.values())
    assert len({*distractors}) == 1000 and not spoken & {*distractors}
