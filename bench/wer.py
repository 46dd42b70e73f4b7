"""What a model gets wrong, in the page, on the test sets of bench/speech: greedy, streaming, utterance by utterance."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import ZipFile

import numpy as np
from playwright.sync_api import Page

from bench.calibration import CalibrationData
from bench.provenance import provenance
from tympan.cli.browser import version_of
from tympan.cli.transcribe import Options, opened_page, transcribe_file
from tympan.cli.word_errors import n_errors, words_of

SETS = Path(__file__).parent / "speech"
NEAR_S = 0.16  # two frames


@dataclass(frozen=True)
class Utterance:
    """One file of a set, and what is known of it."""

    path: Path
    text: str
    starts_s: list[float]  # of its words; empty where they are unknown
    seconds: float | None  # of a file without speech: its length
    term: str  # the rare name in it, if any


Note: TypeAlias = Callable[[str, Utterance, dict[str, Any]], None]  # set, utterance, and the page's result


def measure(options: Options, more: Sequence[Path] = ()) -> dict[str, Any]:
    """Transcribe every set; print a line for each. Returns what the last line holds. Raises CommandError.

    more: further sets, packed like those of bench/speech.
    """
    scored = CalibrationData(options.model)
    print(f"{'set':20} {'errors':>7} {'words':>6} {'files':>6} {'starts within 0.16 s':>21}")
    wer: dict[str, Any] = {}
    with opened_page(options) as page:
        loaded = page.evaluate("tympan.ready")
        browser = version_of(page)
        for path in (*sorted(SETS.glob("*.zip")), *more):
            wer[path.stem] = rates = _measure_set(page, path, scored.add)
            if "words_per_minute" in rates:
                print(f"{path.stem:20} {rates['words_per_minute']:7.1f} words a minute without speech", flush=True)
                continue
            starts = "" if rates["starts_near"] is None else f"{rates['starts_near']:.1%}"
            print(f"{path.stem:20} {rates['wer']:7.1%} {rates['words']:6} {rates['n']:6} {starts:>21}", flush=True)
    return {
        "wer": wer,
        "confidence": scored.result(),
        "model": loaded["title"],
        "backend": loaded["backend"],
        **provenance(browser),
    }


def _measure_set(page: Page, path: Path, note: Note) -> dict[str, Any]:
    wrong, n_words, n_files, n_recognized, silent_s = 0, 0, 0, 0, 0.0
    lags_s: list[float] = []
    for utterance in utterances(path):
        result = transcribe_file(page, utterance.path)
        note(path.stem, utterance, result)
        reference, transcript = words_of(utterance.text), words_of(result["text"])
        wrong, n_words, n_files = wrong + n_errors(reference, transcript), n_words + len(reference), n_files + 1
        n_recognized, silent_s = n_recognized + len(transcript), silent_s + (utterance.seconds or 0)
        # Only where every word is right does each of them have its own time.
        if reference == transcript and len(result["words"]) == len(utterance.starts_s):
            starts_s = [word["start"] for word in result["words"]]
            lags_s += np.subtract(starts_s, utterance.starts_s).tolist()
    if n_words == 0:
        return {"words_per_minute": round(n_recognized / silent_s * 60, 2), "n": n_files, "seconds": silent_s}
    near = float(np.mean(np.abs(lags_s) <= NEAR_S)) if lags_s else None
    return {"wer": round(wrong / n_words, 4), "n": n_files, "words": n_words, "starts_near": near and round(near, 4)}


def utterances(path: Path) -> Iterator[Utterance]:
    """The files of a set, unpacked for as long as the iteration lasts."""
    with ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        for name, label in json.loads(archive.read("labels.json")).items():
            yield Utterance(
                Path(archive.extract(name, folder)),
                label["text"],
                label["starts"],
                label.get("seconds"),
                label.get("term", ""),
            )


def main(model: str, backend: str, more: Sequence[Path], as_json: bool) -> bool:
    """Measure, print a table and, as_json, one line of JSON after it."""
    result = measure(Options(model=model, backend=backend), more)
    if as_json:
        print(json.dumps(result))
    return True
