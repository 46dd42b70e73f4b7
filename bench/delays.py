"""The delay of live words in each browser engine, with the demo model on the GPU and on the CPU.

The microphone plays a sentence. The delay of a word is the time from its end to its display; the page shows the median.
The GPU is the one that the engine finds: a software GPU on a machine without any.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from bench.engines import ENGINES, READY
from bench.provenance import provenance
from tests.engines.engine import Engine
from tympan.cli.server import serving
from tympan.cli.site import ROOT, prepare

SPEECH = ROOT / "static" / "sample.wav"
LAST_WORD = "kitchen"
BACKENDS = ("simd", "webgpu")
N_ROUNDS = 5
LISTEN_MS = 60_000  # until the last word; a backend that cannot keep up fails
DELAY = "parseFloat(document.querySelector('#figures [data-figure=delay]').textContent)"


def measure() -> dict[str, Any]:
    """Measure every engine with every backend that it offers. Returns the JSON object of the last line."""
    delays: dict[str, Any] = {}
    with serving(prepare()) as url, sync_playwright() as playwright:
        for kind in ENGINES:
            engine = kind(playwright)
            delays[engine.name] = {}
            for backend in BACKENDS:
                delays[engine.name] |= _measure_backend(engine, url, backend)
            print(engine.name, json.dumps(delays[engine.name]), flush=True)
            engine.close()
    return {"delays": delays, **provenance(f"chromium {delays['chromium']['version']}")}


def _measure_backend(engine: Engine, url: str, backend: str) -> dict[str, Any]:
    """The engine's version and the figures of one backend, by its name; without those if the engine lacks it."""
    browser: Any = engine.launch(microphone=SPEECH)  # WebKit's has the methods of Playwright's that the tests use
    try:
        page = browser.new_context(service_workers="block").new_page()
        page.goto(f"{url}/?backend={backend}")
        if backend == "webgpu" and not page.evaluate("Boolean(navigator.gpu)"):
            return {"version": browser.version}
        loaded = page.evaluate(READY)
        assert loaded["backend"] == backend, loaded
        delays_s = [_listen(page) for _ in range(N_ROUNDS)]
    finally:
        browser.close()
    found = {name: loaded[name] for name in ("runs_on", "mimi")}
    return {"version": browser.version, backend: found | {"delay_s": median(delays_s), "delays_s": delays_s}}


def _listen(page: Any) -> float:
    """Listen until the last word. Returns the median delay of the words in seconds."""
    page.click("#microphone")
    page.wait_for_selector("html[data-state=listening]", state="attached", timeout=LISTEN_MS)
    page.wait_for_selector(f"#transcript:has-text('{LAST_WORD}')", state="attached", timeout=LISTEN_MS)
    page.click("#microphone")
    page.wait_for_selector("html[data-state=ready]", state="attached", timeout=LISTEN_MS)
    return float(page.evaluate(DELAY))


def main(as_json: bool) -> bool:
    """Measure and print the results, followed by one line of JSON if as_json is set."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
