"""The word error rate of a transcript."""

from __future__ import annotations

import re
from collections.abc import Sequence


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def n_errors(reference: Sequence[str], transcript: Sequence[str]) -> int:
    """The Levenshtein distance in words: insertions, deletions and substitutions."""
    distances = list(range(len(transcript) + 1))
    for i, word in enumerate(reference, start=1):
        diagonal, distances[0] = distances[0], i
        for j, other in enumerate(transcript, start=1):
            best = min(distances[j] + 1, distances[j - 1] + 1, diagonal + (word != other))
            diagonal, distances[j] = distances[j], best
    return distances[-1]


def word_error_rate(reference: str, transcript: str) -> float:
    """Word errors per word of the reference, which has at least one; can exceed 1."""
    wanted = words_of(reference)
    return n_errors(wanted, words_of(transcript)) / len(wanted)
