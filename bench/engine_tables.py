"""The tables that compare browser engines; see tables.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.cells import as_ms, table

ENGINES = {"chromium": "Chromium", "firefox": "Firefox ESR", "webkit": "WebKitGTK"}
LEVELS = {"relaxed": "relaxed SIMD", "simd": "SIMD", "numpy": "numpy"}


def browsers(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The browsers of the tests: what passed, and the speed of the CPU path at the fastest level of each."""
    engines, tests = results["engines"]["engines"], results["engine-tests"]["engine_tests"]
    rows = []
    for name, title in ENGINES.items():
        engine, counted = engines[name], tests[name]
        speed = next(engine[level] for level in LEVELS if level in engine)
        rows.append(
            [
                f"{title} {'.'.join(engine['version'].split('.')[:2])}, Linux",
                f"{counted['passed']}/{counted['passed'] + counted['failed']}",
                f"{as_ms(speed['mimi_ms'])} + {as_ms(speed['lm_ms'])}",
            ]
        )
    rows.append(["Safari, iOS, Android, Windows, macOS", "not tried", ""])
    return table(["browser", "page tests passed", "Mimi + transformer per frame, demo model, CPU"], rows)


def levels(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The speed of the CPU path in each engine, at each level of WebAssembly that it offers."""
    rows = []
    for level, what in LEVELS.items():
        for name, title in ENGINES.items():
            if level in (engine := results["engines"]["engines"][name]):
                figures = engine[level]
                times = [as_ms(figures[key]) for key in ("mimi_ms", "lm_ms")]
                rows.append([what, title, *times, f"{figures['real_time_factor']:.2f}", f"{figures['ready_s']} s"])
    return table(["level", "browser", "Mimi", "transformer", "real-time factor", "first visit to ready"], rows)


def delays(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The delay of live words in each engine, on the CPU and on the GPU."""
    rows = []
    for name, title in ENGINES.items():
        engine = results["delays"]["delays"][name]
        cells = [f"{engine[key]['delay_s']:.2f} s" if key in engine else "no WebGPU" for key in ("simd", "webgpu")]
        rows.append([title, *cells, engine.get("webgpu", {}).get("runs_on", "")])
    return table(["browser", "on the CPU", "on WebGPU", "GPU"], rows)
