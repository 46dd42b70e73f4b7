"""From opening the page to its first use: milliseconds until buttons work, and until the demo model is ready.

Cold is a first visit, with nothing kept; warm are those after it, with the site and the model kept by the browser, each
in a tab of its own. Both are counted from the navigation, by the page's own clock. The server is on this machine, so
that the time is the page's.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from playwright.sync_api import BrowserContext

from bench.provenance import provenance
from cli.browser import opened
from cli.server import serving
from cli.site import DIST, build

N_WARM = 5
TIMEOUT_MS = 120_000

# Notes when <html data-state> leaves "boot", which is when buttons work, and when it is "ready".
_NOTE = """
window.noted = {};
addEventListener("DOMContentLoaded", () => {
    const root = document.documentElement;
    new MutationObserver(() => {
        noted.usable_ms ??= performance.now();
        if (root.dataset.state === "ready") noted.ready_ms ??= performance.now();
    }).observe(root, { attributeFilter: ["data-state"] });
});
"""


def measure() -> dict[str, Any]:
    """Visit the page once, and again. Returns what the last line holds. Raises CommandError."""
    build(DIST)
    with serving(DIST) as url, opened(f"{url}/files.js", keeps_site=True) as page:
        context = page.context
        context.add_init_script(_NOTE)
        cold = _visit(context, url)
        warm = [_visit(context, url) for _ in range(N_WARM)]
        browser = context.browser
        assert browser is not None
        version = f"{browser.browser_type.name} {browser.version}"
    start = {name: round(median(visit[name] for visit in warm)) for name in ("usable_ms", "ready_ms")}
    start |= {f"cold_{name}": round(value) for name, value in cold.items()}
    print(f"cold   usable {start['cold_usable_ms']:6} ms   ready {start['cold_ready_ms']:6} ms")
    print(f"warm   usable {start['usable_ms']:6} ms   ready {start['ready_ms']:6} ms   median of {N_WARM}")
    return {"start": start, **provenance(version)}


def _visit(context: BrowserContext, url: str) -> dict[str, float]:
    """Open the page in a new tab, wait until it is ready, and close it."""
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-state=ready]", state="attached", timeout=TIMEOUT_MS)
    noted: dict[str, float] = page.evaluate("noted")
    page.close()
    return noted


def main(as_json: bool) -> bool:
    """Measure, print a table and, as_json, one line of JSON after it."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
