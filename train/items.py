"""What the planning processes know of the bank's audio. Imports no torch, so that they start fast."""

from typing import NamedTuple

import numpy as np

from .config import SAMPLE_RATE

KEPT = ("kokoro", "piper", "human")  # loaded once; the other engines stream
# Share of each source among the clips of people, by the first letters of the voice. Sources with few speakers get less
# than their hours.
PEOPLE_SHARES = {
    "cv": 0.44, "ls": 0.26, "so": 0.12, "asp": 0.05, "vctk": 0.03, "ar": 0.03, "lj": 0.03, "cathy": 0.02, "sc": 0.02
}  # fmt: skip


class Item(NamedTuple):
    """One utterance of the bank. `cuts` (seconds) is where each word may be cut from the one before it."""

    offset: int
    samples: int
    label: str
    starts: tuple[float, ...]
    cuts: tuple[float, ...]
    tokens: list[list[int]]
    voice: str


class Update(NamedTuple):
    """Items added to a source, and the range of the audio buffer that they overwrite."""

    source: str
    items: list[Item]
    begin: int
    end: int


def cut_points(pcm: np.ndarray, starts: tuple[float, ...]) -> tuple[float, ...]:
    """Return for each word the quietest 10 ms of the 110 ms before its start, in seconds; 0 for the first word.

    Args:
        pcm: (n,) int16 at 24 kHz.
        starts: word starts, seconds.
    """
    hop = SAMPLE_RATE // 100
    level = np.abs(pcm[: len(pcm) // hop * hop].reshape(-1, hop).astype(np.int32)).sum(1)
    cuts = [0.0]
    for start in starts[1:]:
        last = min(len(level), max(1, int(start * 100)))
        first = max(0, last - 11)
        cuts.append(max(cuts[-1], (first + int(level[first:last].argmin())) / 100 + 0.005))
    return tuple(cuts)


def source_of(voice: str) -> str:
    """Return the source of a voice such as "human:cv_12" or "kokoro:af_sky": "human:cv", "kokoro"."""
    engine, _, name = voice.partition(":")
    if engine != "human":
        return engine
    return "human:" + next((s for s in PEOPLE_SHARES if name.startswith(s)), name.partition("_")[0])
