"""Measures the start of the page: milliseconds until the buttons work and until the demo model is ready.

The cold visit is the first one, with an empty profile. Warm visits follow in new tabs, with the site and the model in
the browser's caches. Times are relative to the navigation, by the page's clock. The server runs on the same machine, so
the times exclude the network.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import BrowserContext

from bench.provenance import provenance
from tympan.cli.browser import opened, version_of
from tympan.cli.server import serving
from tympan.cli.site import prepare

N_WARM = 5
TIMEOUT_MS = 120_000

# Records when <html data-state> first changes from "boot", when the buttons work, and when it becomes "ready".
RECORD_TIMES = """
window.times = {};
addEventListener("DOMContentLoaded", () => {
    const root = document.documentElement;
    new MutationObserver(() => {
        times.usable_ms ??= performance.now();
        if (root.dataset.state === "ready") times.ready_ms ??= performance.now();
    }).observe(root, { attributeFilter: ["data-state"] });
});
"""


def measure() -> dict[str, Any]:
    """Visit the page once cold and N_WARM times warm. Returns the result. Raises CommandError."""
    with (
        tempfile.TemporaryDirectory() as profile,
        serving(prepare()) as url,
        opened(f"{url}/files.js", keeps_site=True, profile=Path(profile)) as page,
    ):
        context = page.context
        context.add_init_script(RECORD_TIMES)
        cold = visit(context, url)
        warm = [visit(context, url) for _ in range(N_WARM)]
        version = version_of(page)
    start = {name: round(median(times[name] for times in warm)) for name in ("usable_ms", "ready_ms")}
    start |= {f"cold_{name}": round(value) for name, value in cold.items()}
    print(f"cold   usable {start['cold_usable_ms']:6} ms   ready {start['cold_ready_ms']:6} ms")
    print(f"warm   usable {start['usable_ms']:6} ms   ready {start['ready_ms']:6} ms   median of {N_WARM}")
    return {"start": start, **provenance(version)}


def visit(context: BrowserContext, url: str) -> dict[str, float]:
    """Open the page in a new tab, wait until it is ready, and close it."""
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-state=ready]", state="attached", timeout=TIMEOUT_MS)
    times: dict[str, float] = page.evaluate("times")
    page.close()
    return times


def main(as_json: bool) -> bool:
    """Measure and print a table; with as_json, one line of JSON after it."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
