"""Shards of utterances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train import shards
from train.shards import Utterance


def test_a_shard_gives_back_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    written = [
        Utterance(rng.integers(-32768, 32767, n).astype(np.int16), text, starts, "flite:slt")
        for n, text, starts in ((2400, "one", (0.1,)), (1, "two words", (0.0, 0.05)))
    ]
    shards.write(tmp_path / "a.shard", written)
    for utterance, expected in zip(shards.read(tmp_path / "a.shard"), written, strict=True):
        np.testing.assert_array_equal(utterance.pcm, expected.pcm)
        assert (utterance.label, utterance.starts, utterance.voice) == (expected.label, expected.starts, expected.voice)


def test_every_word_has_a_start() -> None:
    with pytest.raises(ValueError, match="1 word starts for 'two words'"):
        Utterance(np.zeros(9, np.int16), "two words", (0.0,), "flite:slt")
