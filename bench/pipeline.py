"""The whole pipeline in the page, Mimi and the transformer on a file: seconds of work for a second of sound.

The real model's sizes come with random weights, which take the same time. The sound is longer than the ring of the
transformer, so that all of its fills are in the mean.
"""

from __future__ import annotations

import json
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

from bench.load import write_random
from bench.provenance import provenance
from cli.site import ROOT
from cli.transcribe import Options, opened_page, transcribe_file
from tympan.config import SAMPLE_RATE_HZ

SOUND_S = 75.0
QUIET_S = 2.0  # in every ten, as in speech
SEED = 5


def measure(size: str, backend: str) -> dict[str, Any]:
    """Transcribe the sound twice; print a table. Returns what the last line holds. Raises CommandError.

    The first time is not counted: the browser compiles its WebAssembly a second time then, better.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model, sound = Path(scratch) / "model", Path(scratch) / "sound.wav"
        if size == "1b":
            write_random(model)
        _write_sound(sound)
        chosen = str(model) if size == "1b" else str(ROOT / "static" / "models" / "demo")
        with opened_page(Options(model=chosen, backend=backend)) as page:
            loaded = page.evaluate("tympan.ready")
            transcribe_file(page, sound)
            timing = transcribe_file(page, sound)["timing"]
            browser = page.context.browser
            assert browser is not None
            version = f"{browser.browser_type.name} {browser.version}"
    pipeline = {
        "size": size,
        "backend": loaded["backend"],
        "runs_on": loaded["runs_on"],
        "rtf": timing["real_time_factor"],
        "mimi_ms": timing["mimi_ms"],
        "lm_ms": timing["lm_ms"],
        "seconds": SOUND_S,
    }
    for name, value in pipeline.items():
        print(f"{name:10} {value}")
    return {"pipeline": pipeline, **provenance(version)}


def _write_sound(path: Path) -> None:
    """Noise that comes and goes."""
    time_s = np.arange(int(SOUND_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(SEED).uniform(-0.3, 0.3, len(time_s)) * (time_s % 10 > QUIET_S)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((noise * 32767).astype("<i2").tobytes())


def main(size: str, backend: str, as_json: bool) -> bool:
    """Measure, print a table and, as_json, one line of JSON after it."""
    result = measure(size, backend)
    if as_json:
        print(json.dumps(result))
    return True
