"""Writes words as captions: SubRip, WebVTT, JSON, and cues for a page.

Source: W3C WebVTT; SubRip differs in its counter and its decimal comma.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tympan.protocol import DOUBTFUL
from tympan.text.cues import Cue, Cues, markup
from tympan.text.words import Word


def srt(words: Sequence[Word]) -> str:
    """The words as a SubRip file."""
    cues = [
        f"{n}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n"
        for n, cue in enumerate(_cues(words), start=1)
    ]
    return "\n".join(cues)


def vtt(words: Sequence[Word]) -> str:
    """The words as a WebVTT file. Words with a confidence below DOUBTFUL have the class `doubtful`."""
    cues, n_before = [], 0
    for cue in _cues(words):
        text = " ".join(map(_vtt_word, words[n_before : n_before + cue.n_words]))
        cues.append(f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
        n_before += cue.n_words
    return "WEBVTT\n" + "".join(cues)


def to_json(words: Sequence[Word]) -> str:
    """The words as a JSON list of {text, start, end, confidence, alternatives}."""
    return json.dumps([word.to_json() for word in words], ensure_ascii=False, indent=2)


WRITERS: dict[str, Callable[[Sequence[Word]], str]] = {"srt": srt, "vtt": vtt, "json": to_json}


class LiveCues:
    """The cues of a recording in progress, as {index, start, end, text} with `text` as WebVTT."""

    def __init__(self) -> None:
        self._cues = Cues()

    def update(self, words: Sequence[Word], partial: str, seconds: float) -> list[dict[str, Any]]:
        """Add completed words. Return the cues that are new or have changed.

        partial: the text so far of the word in progress; it belongs to the newest cue. seconds: the time of its end.
        """
        first = max(0, len(self._cues.all) - 1)
        for word in words:
            self._cues.add(word.text, word.start, word.end)
        changed = self._fields(first)
        if changed and partial:
            changed[-1] |= {"end": seconds, "text": f"{changed[-1]['text']} {markup(partial)}"}
        return changed

    def finish(self, words: Sequence[Word]) -> list[dict[str, Any]]:
        """Return all cues with their final end times. words: those of the whole recording."""
        n_words = 0
        for cue in self._cues.all:
            n_words += cue.n_words
            cue.end = words[n_words - 1].end
        return self._fields(0)

    def _fields(self, first: int) -> list[dict[str, Any]]:
        return [
            {"index": index, "start": cue.start, "end": cue.end, "text": markup(cue.text)}
            for index, cue in enumerate(self._cues.all[first:], start=first)
        ]


def _vtt_word(word: Word) -> str:
    return f"<c.doubtful>{markup(word.text)}</c>" if word.confidence < DOUBTFUL else markup(word.text)


def _cues(words: Sequence[Word]) -> list[Cue]:
    """Group words into cues."""
    cues = Cues()
    for word in words:
        cues.add(word.text, word.start, word.end)
    return cues.all


def _clock(seconds: float, point: str) -> str:
    """00:01:02,345"""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
