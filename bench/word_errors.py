"""How far a transcript is from what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def n_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words to insert, delete or replace to turn `heard` into `said`: their Levenshtein distance."""
    distances = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        diagonal, distances[0] = distances[0], i
        for j, other in enumerate(heard, start=1):
            best = min(distances[j] + 1, distances[j - 1] + 1, diagonal + (word != other))
            diagonal, distances[j] = distances[j], best
    return distances[-1]


def word_error_rate(said: str, heard: str) -> float:
    """Wrong words for every word of `said`."""
    wanted = words_of(said)
    return n_errors(wanted, words_of(heard)) / len(wanted)
