"""Checks a model in the page against the official implementation's results, and measures word errors on recordings.

The reference recording goes through the page with every backend that the machine has. Then come folders of recordings
with transcripts, in LibriSpeech's layout, or audio files with a text file of the same name.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

from tympan.cli.benchmarks import provenance
from tympan.cli.browser import version_of
from tympan.cli.decode import decode, write_float_wav
from tympan.cli.errors import CommandError
from tympan.cli.reference import KYUTAI_1B, Expected, Reference
from tympan.cli.transcribe import Options, opened_page, reload, transcribe_file
from tympan.cli.word_errors import n_errors, word_error_rate, words_of

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".mp4")


@dataclass(frozen=True)
class Tolerance:
    """The shares of codes, tokens and words that may differ from the reference."""

    codes: float = 0.01  # near ties of Mimi's quantizer, whose transformer runs in int16
    tokens: float = 0.1  # rounded weights move some words by a frame
    words: float = 0.05


EXACT = Tolerance(codes=0, tokens=0)  # after the reference's last token, the page may still write a word


@dataclass(frozen=True)
class Outcome:
    """The result of one backend. codes and tokens: how many are equal to the reference's, and how many there are."""

    backend: str
    codes: tuple[int, int]
    tokens: tuple[int, int]
    wer: float
    rtf: float
    failures: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        (codes_equal, codes), (tokens_equal, tokens) = self.codes, self.tokens
        return {
            "codes": codes,
            "codes_equal": codes_equal,
            "tokens": tokens,
            "tokens_equal": tokens_equal,
            "wer": round(self.wer, 4),
            "rtf": self.rtf,
            "failures": list(self.failures),
        }


def verify(options: Options, sets: Sequence[Path], tolerance: Tolerance, reference: Reference = KYUTAI_1B) -> bool:
    """Verify a model; print a table, what failed, and one line of JSON. Returns whether nothing failed.

    options: model and backend; the backend "auto" stands for all that the machine has. sets: folders of recordings.
    Raises CommandError if the reference cannot be fetched, or the model or a set cannot be read.
    """
    recordings = {folder: list(recordings_of(folder)) for folder in sets}
    expected = reference.fetch()
    with tempfile.TemporaryDirectory() as scratch:
        audio = _as_wav(expected.audio, Path(scratch))
        with opened_page(replace(options, trace="direct")) as page:
            model = page.evaluate("tympan.ready")
            outcomes = list(_outcomes(page, options.backend, audio, expected, tolerance))
            rates = _set_rates(page, options.backend, recordings)
            browser = version_of(page)
    print(f"model      {model['title']}, {model['bytes']:,} bytes, from {model['host']}")
    print(f"reference  {reference.source}")
    print(f"\n{'backend':10} {'codes equal':>16} {'tokens equal':>14} {'word errors':>12} {'RTF':>7}")
    for outcome in outcomes:
        codes, tokens = (f"{equal}/{n}" for equal, n in (outcome.codes, outcome.tokens))
        print(f"{outcome.backend:10} {codes:>16} {tokens:>14} {outcome.wer:12.1%} {outcome.rtf:7.3f}")
    if rates:
        print(f"\n{'set':24} {'word errors':>12} {'words':>7} {'files':>6} {'RTF':>7}")
        for name, rate in rates.items():
            print(f"{name:24} {rate['wer']:12.1%} {rate['words']:7} {rate['files']:6} {rate['rtf']:7.3f}")
    print()
    failures = [f"{outcome.backend}: {failure}" for outcome in outcomes for failure in outcome.failures]
    for failure in failures:
        print(f"tympan: {failure}", file=sys.stderr)
    result = {
        "verify": {outcome.backend: outcome.to_json() for outcome in outcomes},
        "sets": rates,
        "model": model["title"],
        "bytes": model["bytes"],
        "reference": reference.source,
        "passed": not failures,
    }
    print(json.dumps(result | provenance(browser)))
    return not failures


def _outcomes(page: Page, backend: str, audio: Path, expected: Expected, tolerance: Tolerance) -> Iterator[Outcome]:
    """The outcome of the backend that the page has loaded; for "auto" also that of the CPU, if it is not the CPU's."""
    yield _outcome(page, audio, expected, tolerance)
    if backend == "auto" and page.evaluate("tympan.ready")["backend"] == "webgpu":
        reload(page, backend="simd")
        yield _outcome(page, audio, expected, tolerance)


def _outcome(page: Page, audio: Path, expected: Expected, tolerance: Tolerance) -> Outcome:
    result = transcribe_file(page, audio)
    codes, tokens = np.array(result["codes"], np.int32), np.array(result["tokens"], np.int32)
    wer = word_error_rate(expected.transcript, result["text"])
    failures = [
        *reasons("codes", codes, expected.codes, tolerance.codes),
        *reasons("tokens", tokens, expected.tokens, tolerance.tokens),
    ]
    if wer > tolerance.words:
        failures.append(f"{wer:.1%} of the words are wrong, {tolerance.words:.0%} may be: “{result['text']}”")
    return Outcome(
        backend=page.evaluate("tympan.ready")["backend"],
        codes=_n_equal(codes, expected.codes),
        tokens=_n_equal(tokens, expected.tokens),
        wer=wer,
        rtf=round(result["timing"]["real_time_factor"], 4),
        failures=tuple(failures),
    )


def _n_equal(values: NDArray[np.int32], expected: NDArray[np.int32]) -> tuple[int, int]:
    """How many values are equal to the expected ones, and how many are expected. Both have a frame in each row."""
    n_frames = min(len(values), len(expected))
    if values.shape[1:] != expected.shape[1:]:
        return 0, expected.size
    return int((values[:n_frames] == expected[:n_frames]).sum()), expected.size


def reasons(what: str, values: NDArray[np.int32], expected: NDArray[np.int32], tolerance: float) -> Iterator[str]:
    """The reason if more values differ than `tolerance` allows. The page computes more silence at the end."""
    n_equal, n = _n_equal(values, expected)
    if values.shape[1:] != expected.shape[1:]:
        yield f"{what} have the shape {values.shape}, {expected.shape} is expected"
    elif n - n_equal > tolerance * n:
        n_frames = min(len(values), len(expected))
        where = np.argwhere(values[:n_frames] != expected[:n_frames])
        first = ", at the end" if not len(where) else _place(where[0], values, expected)
        yield f"{n - n_equal} of {n} {what} differ from the reference{first}"


def _place(index: NDArray[Any], values: NDArray[np.int32], expected: NDArray[np.int32]) -> str:
    place = f"frame {index[0]}" + (f", codebook {index[1]}" if len(index) > 1 else "")
    return f", the first at {place}: {values[tuple(index)]} instead of {expected[tuple(index)]}"


def _as_wav(audio: Path, scratch: Path) -> Path:
    """The recording as the official scripts decode it. Browsers decode WAV files without a change."""
    if audio.suffix == ".wav":
        return audio
    wav = scratch / "reference.wav"
    write_float_wav(wav, decode(audio))
    return wav


def recordings_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """The audio files of a set with their transcripts. Raises CommandError if there are none."""
    found = False
    for audio, text in (*_librispeech(folder), *_pairs(folder)):
        found = True
        yield audio, text
    if not found:
        raise CommandError(f"{folder} has no audio files with transcripts (*.trans.txt, or a .txt beside each file).")


def _librispeech(folder: Path) -> Iterator[tuple[Path, str]]:
    """LibriSpeech: lines of `ID TEXT` in SPEAKER-CHAPTER.trans.txt, beside ID.flac."""
    for path in sorted(folder.rglob("*.trans.txt")):
        for line in path.read_text("utf-8").splitlines():
            name, _, text = line.partition(" ")
            if audio := _audio_of(path.parent / name):
                yield audio, text


def _pairs(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.txt")):
        if not path.name.endswith(".trans.txt") and (audio := _audio_of(path.with_suffix(""))):
            yield audio, path.read_text("utf-8")


def _audio_of(stem: Path) -> Path | None:
    candidates = (stem.with_name(stem.name + suffix) for suffix in AUDIO_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _set_rates(
    page: Page, backend: str, recordings: Mapping[Path, Iterable[tuple[Path, str]]]
) -> dict[str, dict[str, Any]]:
    """Word errors of each set, transcribed as the page does for a user: without a trace."""
    if recordings:
        reload(page, backend=backend, trace="")
    rates = {}
    for folder, files in recordings.items():
        n_wrong, n_words, n_files, audio_s, elapsed_s = 0, 0, 0, 0.0, 0.0
        for audio, text in files:
            result = transcribe_file(page, audio)
            reference = words_of(text)
            n_wrong, n_words, n_files = (
                n_wrong + n_errors(reference, words_of(result["text"])),
                n_words + len(reference),
                n_files + 1,
            )
            audio_s += result["seconds"]
            elapsed_s += result["seconds"] * result["timing"]["real_time_factor"]
        rates[folder.name] = {
            "wer": round(n_wrong / max(1, n_words), 4),
            "words": n_words,
            "files": n_files,
            "rtf": round(elapsed_s / audio_s, 4) if audio_s else 0.0,
        }
    return rates
