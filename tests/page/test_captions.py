"""Cues of captions start where the engine says, which is where they start in files of captions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tympan.config import FRAME_S
from tympan.text.cues import MAX_CUE_S, MAX_LINE_CHARACTERS, PAUSE_S, Cues
from tympan.text.words import Word

LINES = """
async ([words, cue_starts]) => {
    const { Cues } = await import("../captions.js");
    const lines = [];
    const cues = new Cues({ addCue: (cue) => lines.push(cue) }, 0);
    for (let i = 0; i < words.length; i += 3) { // updates of several words each
        const starts = cue_starts.filter((start) => start >= i && start < i + 3).map((start) => start - i);
        cues.add({ words: words.slice(i, i + 3), cue_starts: starts });
    }
    cues.finish(words);
    return lines.map(({ text, startTime, endTime }) => [text.split(" "), startTime, endTime]);
}
"""
HALF_LINE = "a" * (MAX_LINE_CHARACTERS // 2)


@pytest.fixture(scope="module")
def page(chromium: Browser, site: str) -> Iterator[Page]:
    page = chromium.new_page()
    page.goto(f"{site}/examples/captions.html")
    yield page
    page.close()


def lines_of(words: list[Word], starts: list[int]) -> list[list[Word]]:
    """The words of each line."""
    return [words[start:end] for start, end in pairwise([*starts, len(words)])]


def starts_of(words: list[Word]) -> list[int]:
    """Where lines start, by the rule."""
    cues = Cues()
    return [i for i, word in enumerate(words) if cues.begins(word.text, word.start, word.end)]


def check(page: Page, words: list[Word]) -> None:
    """The page's cues hold the words, start and end of each line."""
    starts = starts_of(words)
    shown = page.evaluate(LINES, [[word.to_json() for word in words], starts])
    assert shown == [[[word.text for word in line], line[0].start, line[-1].end] for line in lines_of(words, starts)]


@pytest.mark.parametrize(
    ("words", "n_lines"),
    [
        ([], 0),
        ([Word(HALF_LINE, 0, 1), Word(HALF_LINE[1:], 1, 2)], 1),
        ([Word(HALF_LINE, 0, 1), Word(HALF_LINE, 1, 2)], 2),
        ([Word("𝄞" * len(HALF_LINE), 0, 1), Word("𝄞" * (len(HALF_LINE) - 1), 1, 2)], 1),
        ([Word("a" * (MAX_LINE_CHARACTERS + 1), 0, 1), Word("a", 1, 2)], 2),
        ([Word("a", 0, 1), Word("a", 1, MAX_CUE_S)], 1),
        ([Word("a", 0, 1), Word("a", 1, MAX_CUE_S + 0.01)], 2),
        ([Word("a", 0, 1), Word("a", 1 + PAUSE_S, 2)], 1),
        ([Word("a", 0, 1), Word("a", 1.01 + PAUSE_S, 2)], 2),
        ([Word(HALF_LINE, 0, 0), Word(HALF_LINE, 0, 0)], 2),
    ],
)
def test_cues_start_where_the_rule_requires(page: Page, words: list[Word], n_lines: int) -> None:
    assert len(starts_of(words)) == n_lines
    check(page, words)


def test_cues_of_a_long_talk(page: Page) -> None:
    """Words of all lengths, one after the other, and now and then a pause."""
    rng = np.random.default_rng(0)
    words, frame = list[Word](), 0
    for _ in range(500):
        frame += int(rng.choice([0, 0, 0, 1, 9, 10, 11, 12]))
        start, frame = frame, frame + int(rng.integers(1, 9))
        words.append(Word("é" * int(rng.integers(1, 14)), round(start * FRAME_S, 2), round(frame * FRAME_S, 2)))
    check(page, words)
