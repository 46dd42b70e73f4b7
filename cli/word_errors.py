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


def aligned(reference: Sequence[str], transcript: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """The words of both in pairs, with as few errors as possible; None on one side of an insertion or a deletion."""
    n, m = len(reference), len(transcript)
    distances = [[i + j if 0 in (i, j) else 0 for j in range(m + 1)] for i in range(n + 1)]
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            substituted = distances[i - 1][j - 1] + (reference[i - 1] != transcript[j - 1])
            distances[i][j] = min(distances[i - 1][j] + 1, distances[i][j - 1] + 1, substituted)
    pairs: list[tuple[str | None, str | None]] = []
    i, j = n, m
    while i or j:
        is_pair = i and j and distances[i][j] == distances[i - 1][j - 1] + (reference[i - 1] != transcript[j - 1])
        is_deleted = not is_pair and i and distances[i][j] == distances[i - 1][j] + 1
        pairs.append(
            (None if not (is_pair or is_deleted) else reference[i - 1], None if is_deleted else transcript[j - 1])
        )
        i, j = i - bool(is_pair or is_deleted), j - (not is_deleted)
    return pairs[::-1]
