"""Writes words as captions: SubRip, WebVTT and JSON.

Source: W3C WebVTT; SubRip differs in its counter and its decimal comma.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from tympan.text.cues import Cues, markup
from tympan.text.words import Word


def srt(words: Sequence[Word]) -> str:
    """The words as a SubRip file."""
    cues = [
        f"{n}\n{_clock(cue[0].start, ',')} --> {_clock(cue[-1].end, ',')}\n{_text(cue)}\n"
        for n, cue in enumerate(_cues(words), start=1)
    ]
    return "\n".join(cues)


def vtt(words: Sequence[Word]) -> str:
    """The words as a WebVTT file."""
    cues = [
        f"\n{_clock(cue[0].start, '.')} --> {_clock(cue[-1].end, '.')}\n{markup(_text(cue))}\n" for cue in _cues(words)
    ]
    return "WEBVTT\n" + "".join(cues)


def to_json(words: Sequence[Word]) -> str:
    """The words as a JSON list of {text, start, end}."""
    return json.dumps([word.to_json() for word in words], ensure_ascii=False, indent=2)


WRITERS: dict[str, Callable[[Sequence[Word]], str]] = {"srt": srt, "vtt": vtt, "json": to_json}


def _cues(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Group words into cues."""
    cues, cue = Cues(), list[Word]()
    for word in words:
        if cues.begins(word.text, word.start, word.end) and cue:
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _clock(seconds: float, point: str) -> str:
    """00:01:02,345"""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
