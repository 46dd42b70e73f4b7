"""The CPU path in each browser engine: Mimi and the demo model's transformer at each level of WebAssembly.

The pages of all engines are open at once and transcribe by turns, and the fastest of N_ROUNDS counts, so that other
work on the machine favours none of them.
"""

from __future__ import annotations

import json
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from bench.provenance import provenance
from tests.engines.chromium import Chromium
from tests.engines.engine import Engine
from tests.engines.firefox import Firefox
from tests.engines.webkit import WebKit
from tympan.cli.server import serving
from tympan.cli.site import prepare
from tympan.config import SAMPLE_RATE_HZ

ENGINES: tuple[type[Engine], ...] = (Chromium, Firefox, WebKit)
LEVELS = ("relaxed", "simd", "numpy")
AUDIO_S = 4.0
N_ROUNDS = 8
SEED = 5
READY = """
    () => Promise.race([tympan.ready, new Promise((_, reject) => setTimeout(reject, 900_000, "It is not ready."))])
"""


def measure() -> dict[str, Any]:
    """Measure every engine at every level that it offers. Returns the JSON object of the last line."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        _write_audio(Path(folder) / "audio.wav")
        engines = [kind(playwright) for kind in ENGINES]
        with serving(prepare(), mounts={"/bench/": Path(folder)}) as url:
            levels = {level: _measure_level(engines, url, level) for level in LEVELS}
        for engine in engines:
            engine.close()
    found: dict[str, Any] = {engine.name: {} for engine in engines}
    for level, results in levels.items():
        for name, result in results.items():
            found[name]["version"] = result.pop("version")
            found[name][level] = result
    for name, result in found.items():
        print(name, json.dumps(result))
    return {"engines": found, **provenance(f"chromium {found[Chromium.name]['version']}")}


def _measure_level(engines: list[Engine], url: str, level: str) -> dict[str, dict[str, Any]]:
    """By the name of the engine; those without the level are missing."""
    offering = [engine for engine in engines if level != "relaxed" or engine.simd == "relaxed"]
    backend = "numpy" if level == "numpy" else "simd"
    results: dict[str, dict[str, Any]] = {}
    with _pages(offering) as pages:
        for engine, (version, page) in pages.items():
            start_s = time.monotonic()
            page.goto(f"{url}/?simd={level}&backend={backend}")
            loaded = page.evaluate(READY)
            assert (loaded["simd"], loaded["backend"]) == (level, backend), loaded
            results[engine.name] = {"version": version, "ready_s": round(time.monotonic() - start_s, 1)}
        timings: dict[str, list[dict[str, float]]] = {name: [] for name in results}
        for _ in range(N_ROUNDS):
            for engine, (_, page) in pages.items():
                timings[engine.name].append(page.evaluate("tympan.transcribe('bench/audio.wav').then((x) => x.timing)"))
    for name, rounds in timings.items():
        for figure in ("mimi_ms", "lm_ms", "real_time_factor"):
            results[name][figure] = min(timing[figure] for timing in rounds)
    return results


@contextmanager
def _pages(engines: list[Engine]) -> Iterator[dict[Engine, tuple[str, Any]]]:
    """The version of each engine, and a page in a fresh profile."""
    browsers = {engine: engine.launch() for engine in engines}
    try:
        yield {
            engine: (browser.version, browser.new_context(service_workers="block").new_page())
            for engine, browser in browsers.items()
        }
    finally:
        for browser in browsers.values():
            browser.close()


def _write_audio(path: Path) -> None:
    """Noise, whose transcript does not matter."""
    noise = np.random.default_rng(SEED).uniform(-0.3, 0.3, int(AUDIO_S * SAMPLE_RATE_HZ))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((noise * 32767).astype("<i2").tobytes())


def main(as_json: bool) -> bool:
    """Measure and print the results, followed by one line of JSON if as_json is set."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
