"""Decode shards of people into short pieces of PCM in the folder that the trainer polls.

    python -m train.unpack SOURCE DEST --processes 14

Long recordings are cut at pauses between words, so that every batch can combine them differently.
"""

import argparse
import multiprocessing
from pathlib import Path

import numpy as np

from . import shards
from .config import SAMPLE_RATE

_SHORTEST_S, _LONGEST_S = 2.0, 7.0
_WINDOW = SAMPLE_RATE // 50
_EDGE = SAMPLE_RATE // 10  # silence kept at either end
_PER_SHARD = 100


def pieces(u: shards.Utterance) -> list[shards.Utterance]:
    """Trim the silence around `u` and cut it, where it is quietest, into pieces of 2 to 7 seconds."""
    words, starts = u.label.split(), np.array(u.starts)
    power = np.convolve(np.square(u.pcm.astype(np.float32)), np.ones(_WINDOW) / _WINDOW, "same")
    loud = np.flatnonzero(power > max(power.max() * 1e-4, 100.0))
    end = min(len(u.pcm), (loud[-1] if len(loud) else len(u.pcm)) + _EDGE)
    out, first, begin = list[shards.Utterance](), 0, max(0, int(starts[0] * SAMPLE_RATE) - 2 * _EDGE)
    while True:
        low, high = begin / SAMPLE_RATE + _SHORTEST_S, begin / SAMPLE_RATE + _LONGEST_S
        candidates = [i for i in range(first + 1, len(words)) if low <= starts[i] <= high]
        if end / SAMPLE_RATE <= high or not candidates:
            break
        cuts = [_quietest(power, starts[i]) for i in candidates]
        best = min(range(len(cuts)), key=lambda i: power[cuts[i]])
        out.append(_part(u, words, starts, first, candidates[best], begin, cuts[best]))
        first, begin = candidates[best], cuts[best]
    out.append(_part(u, words, starts, first, len(words), begin, end))
    return out


def _quietest(power: np.ndarray, start: float) -> int:
    """Find the sample of least power shortly before a word."""
    low, high = max(0, int((start - 0.16) * SAMPLE_RATE)), int((start - 0.02) * SAMPLE_RATE)
    return low + int(power[low:high].argmin())


def _part(
    u: shards.Utterance, words: list[str], starts: np.ndarray, first: int, last: int, begin: int, end: int
) -> shards.Utterance:
    """Return words `first` to `last` and samples `begin` to `end` of u, scaled to a peak of 0.7."""
    pcm = u.pcm[begin:end].astype(np.float32)
    pcm *= 0.7 * 32767 / max(100.0, float(np.abs(pcm).max()))
    shifted = tuple(max(0.0, float(s) - begin / SAMPLE_RATE) for s in starts[first:last])
    return shards.Utterance(pcm.astype(np.int16), " ".join(words[first:last]), shifted, u.voice)


def work(source: Path, dest: Path, number: int, of: int) -> None:
    """Unpack every `of`-th utterance of a shard, from `number` on."""
    utterances = shards.read(source, number, of)
    done = [p for u in utterances for p in pieces(u) if p.label and len(p.pcm) > SAMPLE_RATE // 4]
    for i in range(0, len(done), _PER_SHARD):
        shards.write(dest / f"{source.stem}-{number:03d}-{i:05d}.shard", done[i : i + _PER_SHARD])


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("source", type=Path)
    cli.add_argument("dest", type=Path)
    cli.add_argument("--processes", type=int, default=1)
    a = cli.parse_args()
    a.dest.mkdir(parents=True, exist_ok=True)
    jobs = [
        (path, a.dest, n, 2 * a.processes) for path in sorted(a.source.glob("*.shard")) for n in range(2 * a.processes)
    ]
    with multiprocessing.get_context("spawn").Pool(a.processes) as pool:
        pool.starmap(work, jobs, chunksize=1)


if __name__ == "__main__":
    main()
