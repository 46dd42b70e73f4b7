"""Recordings of people before training: spelling, cutting, and shards."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from train.normalise import normalise
from train.ogg import read_ogg
from train.shards import SAMPLE_RATE, Utterance
from train.unpack import pieces

SPEECH = Path(__file__).parents[2] / "bench" / "speech"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Mr. Hale\u2019s No. 7, please!", "mister hale's no seven please"),
        ("In 1815 and 1905", "in eighteen fifteen and nineteen oh five"),
        ("the 21st of 12,000", "the twenty first of twelve thousand"),
        ("caf\u00e9 \u2014 well-known", "cafe well known"),
        ("\u5317\u4eac", None),
    ],
)
def test_a_transcript_is_spelt_one_way(written: str, said: str | None) -> None:
    assert normalise(written) == said


def test_an_ogg_file_tells_its_length() -> None:
    with ZipFile(SPEECH / "people_commonvoice.zip") as archive:
        name = next(iter(json.loads(archive.read("labels.json"))))
        opus = read_ogg(archive.read(name))
    assert len(opus.packets) * 0.06 * SAMPLE_RATE > opus.samples / 3
    assert 0 < opus.skip < SAMPLE_RATE


def test_a_long_recording_is_cut_between_words() -> None:
    words, starts = [f"w{'x' * i}" for i in range(10)], [0.5 + i for i in range(10)]
    pcm = np.zeros(11 * SAMPLE_RATE, np.int16)
    for start in starts:
        begin = int(start * SAMPLE_RATE)
        pcm[begin : begin + SAMPLE_RATE // 2] = 8000
    parts = pieces(Utterance(pcm, " ".join(words), tuple(starts), "human:cv_1"))
    assert " ".join(p.label for p in parts) == " ".join(words)
    assert len(parts) > 1
    for part in parts:
        assert len(part.pcm) <= 7.2 * SAMPLE_RATE
        for start in part.starts:
            at = int(start * SAMPLE_RATE)
            assert part.pcm[at + 100] > 1000
            assert at < 200 or part.pcm[at - 200] == 0
