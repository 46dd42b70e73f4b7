"""A page of the built site with only Pyodide, numpy and the library, for measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from cli.browser import opened, version_of
from cli.server import serving
from cli.site import DIST, build

FOLDER = Path(__file__).parent

_START = """
async () => {
    const { loadPyodide } = await import("/vendor/pyodide/pyodide.mjs");
    window.pyodide = await loadPyodide({ indexURL: "/vendor/pyodide/" });
    await pyodide.loadPackage("numpy", { messageCallback: () => {} });
    const library = await (await fetch("/tympan.zip")).arrayBuffer();
    pyodide.unpackArchive(library, "zip", { extractDir: "/library" });
    pyodide.runPython("import json, sys; sys.path.insert(0, '/library')");
}
"""


@dataclass(frozen=True)
class BenchPage:
    """A page in which a script of this folder has run."""

    page: Page

    def call(self, function: str, **arguments: Any) -> Any:
        """Calls a coroutine function of the script. Arguments and result are JSON values."""
        source = f"json.dumps(await {function}(**json.loads({json.dumps(arguments)!r})))"
        return json.loads(self.page.evaluate("source => pyodide.runPythonAsync(source)", source))

    @property
    def browser(self) -> str:
        """See `version_of`."""
        return version_of(self.page)


@contextmanager
def bench_page(script: str, mounts: Mapping[str, Path]) -> Iterator[BenchPage]:
    """Opens the page and runs `script` in it. mounts: URL prefix -> folder to serve there. Raises CommandError."""
    build(DIST)
    with serving(DIST, mounts={"/bench/": FOLDER, **mounts}) as url, opened(f"{url}/bench/page.html") as page:
        page.evaluate(_START)
        page.evaluate("source => pyodide.runPython(source)", (FOLDER / script).read_text())
        yield BenchPage(page)
