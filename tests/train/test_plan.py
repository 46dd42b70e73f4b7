"""Plans of training batches: which audio goes where, and the text that belongs to it."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from train import plan as planning
from train.config import FRAME, PAD_TOKEN, SAMPLE_RATE, WORD_TOKEN
from train.items import Item, Update, cut_points, source_of
from train.plan import CLASS, Piece, Planner
from train.tokens import text_stream

WORDS = ("one", "two", "three", "four", "five", "six")
TOKENS = {word: [10 + i] for i, word in enumerate(WORDS)}
DELAY = 12


def item(offset: int, words: tuple[str, ...], voice: str) -> Item:
    """An utterance of half a second a word."""
    starts = tuple(0.1 + 0.5 * i for i in range(len(words)))
    cuts = (0.0, *(s - 0.05 for s in starts[1:]))
    samples = int((0.1 + 0.5 * len(words)) * SAMPLE_RATE)
    return Item(offset, samples, " ".join(words), starts, cuts, [TOKENS[w] for w in words], voice)


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    corpus = tmp_path / "corpus.txt.xz"
    corpus.write_bytes(lzma.compress(b"# 1\nFive two six.\nSix one four two.\nThree three five.\n"))
    planner = Planner(3, 12.8, DELAY, corpus)
    people = [item(10**6 * i, WORDS[i % 3 : i % 3 + 4], f"human:cv_{i % 5}") for i in range(20)]
    planner.update(Update("human:cv", people, 0, 0))
    planner.update(Update("hibari", [item(10**8, WORDS, "hibari")], 0, 0))
    return planner


def text_of(plan: planning.Plan, row: int) -> str:
    letters = {c: letter for letter, c in CLASS.items()}
    return "".join(letters[int(c)] for c in plan.characters[row, : plan.lengths[row]])


def test_a_plan_describes_the_same_words_three_times(planner: Planner) -> None:
    plan = planner.batch(40)
    for row in range(40):
        words = text_of(plan, row).split()
        stream = [t for t in plan.tokens[row].tolist() if t not in (PAD_TOKEN, WORD_TOKEN)]
        assert stream == [TOKENS[w][0] for w in words][: len(stream)]
        assert len(words) - len(stream) <= 2  # the text of the last second lies beyond the end
        used = plan.begin[row] < planner.length
        assert used.any() == bool(words)
        assert not (plan.silent[row] and words)
        ends = plan.begin[row] + plan.samples[row] / plan.speed[row]
        assert (ends[used] <= planner.length).all()
        assert (np.diff(plan.begin[row][used]) > 0).all()


@pytest.mark.parametrize("kind", ["whole", "phrases", "spliced"])
def test_people_are_heard_whole_in_phrases_and_in_new_sentences(
    planner: Planner, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PEOPLE_SHARE", 1.0)
    monkeypatch.setattr(planning, "WHOLE_SHARE", float(kind == "whole"))
    monkeypatch.setattr(planning, "PHRASE_SHARE", float(kind == "phrases"))
    for _ in range(30):
        groups = planner.groups()
        group = next(groups)
        words = [w for p in group for w in p.item.label.split()[p.first : p.last]]
        if kind == "spliced":
            assert " ".join(words) in ("five two six", "six one four two", "three three five")
            assert all(p.last == p.first + 1 for p in group)
        else:
            assert len(group) == 1
            assert (len(words) == 4) == (kind == "whole") or kind == "phrases"


def test_a_piece_ends_where_the_next_word_may_be_cut_off() -> None:
    whole = item(0, WORDS[:3], "human:cv_1")
    assert (Piece(whole, 0, 3).begin, Piece(whole, 0, 3).end) == (0, whole.samples)
    middle = Piece(whole, 1, 2)
    assert (middle.begin, middle.end) == (int((0.6 - 0.05) * SAMPLE_RATE), int((1.1 - 0.05) * SAMPLE_RATE))


def test_overwritten_utterances_are_planned_no_more(planner: Planner) -> None:
    planner.update(Update("hibari", [], 10**8 - 5, 10**8 + 5))
    assert planner.sources["hibari"] == []
    assert all(p.item.voice.startswith("human") for _ in range(50) for p in next(planner.groups()))


def test_a_synthesizer_says_new_sentences_spliced_from_words_that_still_exist(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PEOPLE_SHARE", 0.0)
    monkeypatch.setattr(planning, "SPLICED_SHARE", 1.0)
    later = item(2 * 10**8, WORDS, "hibari")
    planner.update(Update("hibari", [later], 0, 0))
    planner.update(Update("hibari", [], 10**8 - 5, 10**8 + 5))
    for _ in range(30):
        pieces = next(planner.groups())
        assert all(p.item is later and p.last == p.first + 1 for p in pieces)
        assert " ".join(WORDS[p.first] for p in pieces) in ("five two six", "six one four two", "three three five")


def test_a_speaker_weighs_the_square_root_of_the_utterances(planner: Planner) -> None:
    planner.update(Update("human:so", [item(10**9 + 10**6 * i, WORDS, "human:so_a") for i in range(100)], 0, 0))
    planner.update(Update("human:so", [item(2 * 10**9, WORDS, "human:so_b")], 0, 0))
    drawn = [i.voice for i in (planner.draw(True) for _ in range(40_000)) if i.voice.startswith("human:so")]
    assert drawn.count("human:so_b") / len(drawn) == pytest.approx(1 / 11, rel=0.2)


def test_words_are_cut_where_it_is_quietest() -> None:
    pcm = np.full(SAMPLE_RATE, 5000, np.int16)
    pcm[int(0.42 * SAMPLE_RATE) : int(0.44 * SAMPLE_RATE)] = 3
    first, second = cut_points(pcm, (0.05, 0.5))
    assert first == 0.0
    assert 0.42 <= second <= 0.44


def test_a_word_waits_for_the_pieces_of_the_one_before() -> None:
    frame = FRAME / SAMPLE_RATE
    stream = text_stream([(0.0, [7, 8, 9]), (2.5 * frame, [5])], steps=12, delay=2)
    assert stream == [PAD_TOKEN, WORD_TOKEN, 7, 8, 9, WORD_TOKEN, 5, *[PAD_TOKEN] * 5]


def test_a_voice_belongs_to_a_source() -> None:
    assert source_of("human:cvk") == source_of("human:cv_12") == "human:cv"
    assert source_of("human:other_3") == "human:other"
    assert source_of("kokoro:af_sky+am_adam") == "kokoro"
