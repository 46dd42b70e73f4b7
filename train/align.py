"""Word starts of human recordings, by forced alignment with pocketsphinx's English acoustic model.

    python -m train.align DEST ZIP... --tests TEST_ZIP... --processes N

Each ZIP is packed like bench/speech. Writes DEST/NAME-000.shard and so on, one for each process: the recordings as they
are packed, not encoded again, with normalised text and word starts. Clips that cannot be aligned, or whose text shares
five words in a row or a shorter sentence with a test set, are dropped and counted.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from . import shards
from .normalise import normalise
from .ogg import read_ogg
from .pronounce import Pronouncer
from .text import shares_run, test_runs

RATE = 16_000  # of the acoustic model
_FRAME_S = 0.01
_SHORTEST_RUN = 3  # words; one or two are common to all texts
_SHIFT_S = 0.04  # half of how much later Kokoro's and hibari's word starts are; espeak-ng's and flite's agree


class Aligner:
    """Forced alignment of one recording at a time."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self.decoder: Any = Decoder(lm=None, loglevel="FATAL", beam=1e-60, wbeam=1e-40, pbeam=1e-60)
        self.pronounce = Pronouncer()

    def starts(self, pcm: np.ndarray, words: list[str]) -> list[float] | None:
        """Return each word's start in seconds; None if the recording does not fit the words. pcm: int16, 16 kHz."""
        for word in words:
            if self.decoder.lookup_word(word) is None:
                phones = self.pronounce(word)
                if not phones:
                    return None
                self.decoder.add_word(word, phones, True)
        try:
            self.decoder.set_align_text(" ".join(words))
            self.decoder.start_utt()
            self.decoder.process_raw(pcm.astype("<i2").tobytes(), full_utt=True)
            self.decoder.end_utt()
            if self.decoder.hyp() is None:
                return None
        except RuntimeError:
            return None
        spans = [(s.word, s.start_frame * _FRAME_S) for s in self.decoder.seg()]
        found = [(w.partition("(")[0], t) for w, t in spans if not w.startswith(("<", "["))]
        if [w for w, _ in found] != words:
            return None
        starts = [t for _, t in found]
        return starts if self._plausible(starts, words, len(pcm) / RATE) else None

    @staticmethod
    def _plausible(starts: list[float], words: list[str], seconds: float) -> bool:
        """Whether few words are as short as their phones allow, and the whole is not faster than speech."""
        ends = [*starts[1:], seconds]
        letters = sum(map(len, words))
        n_shortest = sum(
            e - s < 0.035 * max(2, len(w) - 1)
            for (s, e), w in zip(itertools.zip_longest(starts, ends), words, strict=True)
        )
        return n_shortest <= 0.2 * len(words) and 0.03 * letters < seconds


def to_16k(pcm: np.ndarray) -> np.ndarray:
    """Resample int16 from 24 to 16 kHz."""
    return np.clip(resample_poly(pcm.astype(np.float32), 2, 3), -32768, 32767).astype(np.int16)


@functools.cache
def _aligner() -> Aligner:
    return Aligner()


def align_zip(path: Path, dest: Path, barred: set[tuple[str, ...]], number: int, of: int) -> tuple[int, int]:
    """Write a shard of every `of`-th clip, from `number` on. Returns the number of clips kept and of all clips.

    barred: runs of words (`text.test_runs`); a clip with one of them, of three words or more, is dropped.
    """
    kept = []
    with zipfile.ZipFile(path) as archive:
        labels = list(json.loads(archive.read("labels.json")).items())[number::of]
        for name, what in labels:
            text = normalise(what["text"])
            if text is None or shares_run(text, barred, _SHORTEST_RUN):
                continue
            ogg = read_ogg(archive.read(name))
            packed = shards.Packed(ogg.packets, ogg.skip, ogg.samples, text, (), what["voice"])
            starts = _aligner().starts(to_16k(packed.pcm()), text.split())
            if starts is not None:
                kept.append(replace(packed, starts=tuple(s + _SHIFT_S for s in starts)))
    shards.write_packed(dest / f"{path.stem}-{number:03d}.shard", kept)
    return len(kept), len(labels)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("dest", type=Path)
    cli.add_argument("zips", type=Path, nargs="+")
    cli.add_argument("--tests", type=Path, nargs="*", default=[], help="test sets whose sentences are left out")
    cli.add_argument("--processes", type=int, default=1)
    a = cli.parse_args()
    a.dest.mkdir(parents=True, exist_ok=True)
    barred = test_runs(a.tests)
    with multiprocessing.get_context("spawn").Pool(a.processes) as pool:
        for path in a.zips:
            jobs = [(path, a.dest, barred, n, a.processes) for n in range(a.processes)]
            counts = pool.starmap(align_zip, jobs, chunksize=1)
            print(f"{path.stem}: {sum(k for k, _ in counts)} of {sum(n for _, n in counts)} clips aligned", flush=True)


if __name__ == "__main__":
    main()
