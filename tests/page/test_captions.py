"""Captions of a page of somebody else's begin their lines where Tympan's own files of captions do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tympan.config import FRAME_S
from tympan.text.cues import MAX_CUE_S, MAX_LINE_CHARACTERS, PAUSE_S, Cues
from tympan.text.words import Word

LINES = """
async (words) => {
    const { Cues } = await import("../captions.js");
    const lines = [];
    new Cues({ addCue: (cue) => lines.push(cue) }, 0).add(words);
    return lines.map(({ text }) => text.split(" "));
}
"""
HALF_LINE = "a" * (MAX_LINE_CHARACTERS // 2)


@pytest.fixture(scope="module")
def page(chromium: Browser, site: str) -> Iterator[Page]:
    page = chromium.new_page()
    page.goto(f"{site}/examples/captions.html")
    yield page
    page.close()


def lines_of(words: list[Word]) -> list[list[str]]:
    """The words of each line, by the rule."""
    cues, lines = Cues(), list[list[str]]()
    for word in words:
        if cues.begins(word.text, word.start, word.end):
            lines.append([])
        lines[-1].append(word.text)
    return lines


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
def test_a_line_begins_where_the_rule_says(page: Page, words: list[Word], n_lines: int) -> None:
    lines = lines_of(words)
    assert len(lines) == n_lines
    assert page.evaluate(LINES, [word.to_json() for word in words]) == lines


def test_the_lines_of_a_long_talk(page: Page) -> None:
    """Words of all lengths, one after the other, and now and then a pause."""
    rng = np.random.default_rng(0)
    words, frame = list[Word](), 0
    for _ in range(500):
        frame += int(rng.choice([0, 0, 0, 1, 9, 10, 11, 12]))
        start, frame = frame, frame + int(rng.integers(1, 9))
        words.append(Word("é" * int(rng.integers(1, 14)), round(start * FRAME_S, 2), round(frame * FRAME_S, 2)))
    assert page.evaluate(LINES, [word.to_json() for word in words]) == lines_of(words)
