"""The whole pipeline on a file in the page: seconds of processing per second of audio.

The size "1b" uses random weights, which take the same time as trained ones. The audio is longer than the context of the
transformer, so that the mean covers every fill of its KV cache.
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
from tympan.cli.browser import version_of
from tympan.cli.site import ROOT
from tympan.cli.transcribe import Options, opened_page, transcribe_file
from tympan.config import SAMPLE_RATE_HZ

AUDIO_S = 75.0  # by default
QUIET_S = 2.0  # in every 10 s, like pauses in speech
SEED = 5


def measure(size: str, backend: str, audio_s: float = AUDIO_S) -> dict[str, Any]:
    """Transcribe the audio twice and print a table. Returns the JSON object of the last line. Raises CommandError.

    The first run is not counted: during it the browser recompiles its WebAssembly with more optimization.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model, audio = Path(scratch) / "model", Path(scratch) / "audio.wav"
        if size == "1b":
            write_random(model)
        _write_audio(audio, audio_s)
        chosen = str(model) if size == "1b" else str(ROOT / "static" / "models" / "demo")
        with opened_page(Options(model=chosen, backend=backend)) as page:
            loaded = page.evaluate("tympan.ready")
            transcribe_file(page, audio)
            timing = transcribe_file(page, audio)["timing"]
            version = version_of(page)
    pipeline = {
        "size": size,
        "backend": loaded["backend"],
        "runs_on": loaded["runs_on"],
        "mimi": loaded["mimi"],
        "rtf": timing["real_time_factor"],
        "mimi_ms": timing["mimi_ms"],
        "lm_ms": timing["lm_ms"],
        "seconds": audio_s,
    }
    for name, value in pipeline.items():
        print(f"{name:10} {value}")
    return {"pipeline": pipeline, **provenance(version)}


def _write_audio(path: Path, audio_s: float) -> None:
    """Noise with pauses."""
    time_s = np.arange(int(audio_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(SEED).uniform(-0.3, 0.3, len(time_s)) * (time_s % 10 > QUIET_S)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((noise * 32767).astype("<i2").tobytes())


def main(size: str, backend: str, audio_s: float, as_json: bool) -> bool:
    """Measure and print a table, followed by one line of JSON if as_json is set."""
    result = measure(size, backend, audio_s)
    if as_json:
        print(json.dumps(result))
    return True
