"""The wheel in a page of PyScript that loads nothing from a Tympan site."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.page.test_transcribe import MAX_WORD_ERROR_RATE, SAID, SPEECH
from tests.page.tympan_page import KEEP_TRACKS, TRANSCRIBE_MS
from tympan.cli.server import serving
from tympan.cli.site import ROOT
from tympan.cli.testing import OpenBrowser
from tympan.cli.word_errors import word_error_rate

PAGE = """<!doctype html>
<script>
window.told = [];
new BroadcastChannel("test").onmessage = ({ data }) => told.push(data);
</script>
<script type="module" src="vendor/pyscript/core.js"></script>
<py-script worker config="pyscript.toml">
from js import BroadcastChannel
from tympan import Transcriber, TympanError

page = BroadcastChannel.new("test")
try:
    await Transcriber.load("babel")
except TympanError as error:
    page.postMessage(str(error))
stt = await Transcriber.load("demo", backend="simd")
page.postMessage((await stt.transcribe("speech.wav")).text)
async with stt.microphone() as microphone:
    async for word in microphone:
        page.postMessage(word.text)
        break
</py-script>
"""
# A worker with Pyodide and no PyScript, as notebooks have. Runs cells that it is sent and posts what they print.
NOTEBOOK_WORKER = """
import { loadPyodide } from "/vendor/pyodide/pyodide.mjs";
addEventListener("message", async ({ data: { wheel, cells, wav } }) => {
  try {
    let printed = "";
    const stdout = (line) => (printed += `${line}\\n`);
    const pyodide = await loadPyodide({ indexURL: "/vendor/pyodide/", packages: ["micropip"], stdout: () => {} });
    pyodide.FS.writeFile("talk.wav", new Uint8Array(wav));
    await pyodide.pyimport("micropip").install(wheel);
    pyodide.setStdout({ batched: stdout });
    for (const cell of cells) await pyodide.runPythonAsync(cell);
    postMessage(printed);
  } catch (error) {
    postMessage(String(error));
  }
});
"""
RUN_NOTEBOOK = """
async ([wheel, cells]) => {
  const worker = new Worker("/notebook.js", { type: "module" });
  const wav = await (await fetch("/speech.wav")).arrayBuffer();
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage({ wheel, cells, wav });
  });
}
"""
CONFIGURATION = """
interpreter = "./vendor/pyodide/pyodide.mjs"
packages = ["WHEEL"]
sync_main_only = true
"""


@pytest.fixture
def url(wheel: Path, tympan_site: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server with the wheel, the page, a recording, and the interpreters as a CDN has them."""
    shutil.copy(wheel, tmp_path)
    shutil.copy(SPEECH, tmp_path / "speech.wav")
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "blank.html").write_text("<!doctype html>")
    with serving(tmp_path, mounts={"/vendor/": tympan_site / "vendor"}) as address:
        (tmp_path / "notebook.js").write_text(NOTEBOOK_WORKER)
        (tmp_path / "pyscript.toml").write_text(CONFIGURATION.replace("WHEEL", f"{address}/{wheel.name}"))
        yield address


@pytest.fixture
def page(tympan_browser: OpenBrowser) -> Iterator[Page]:
    page = tympan_browser(SPEECH).new_page()
    page.add_init_script(KEEP_TRACKS)
    yield page
    page.close()


def test_a_page_needs_only_the_wheel(page: Page, url: str) -> None:
    """Model, kernels and the modules of the page thread come from the wheel."""
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(url)
    page.wait_for_function("told.length === 3", timeout=TRANSCRIBE_MS)
    unknown, text, word = page.evaluate("told")
    assert unknown.startswith("There is no model “babel”. The catalogue has: demo")
    assert word_error_rate(SAID, text) <= MAX_WORD_ERROR_RATE
    assert word == "can"
    page.wait_for_function("tracks.length === 1 && tracks[0].readyState === 'ended'")
    assert not [address for address in requested if "/bridge/" in address or "/models/" in address]


def test_the_cells_of_the_notebook_run_without_a_page(page: Page, url: str, wheel: Path) -> None:
    notebook = json.loads((ROOT / "static" / "examples" / "notebook.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells[0] == "%pip install -q tympan"
    page.goto(f"{url}/blank.html")
    page.set_default_timeout(TRANSCRIBE_MS)
    printed = page.evaluate(RUN_NOTEBOOK, [f"{url}/{wheel.name}", cells[1:]])
    text, *words = printed.splitlines()
    assert word_error_rate(SAID, text) <= MAX_WORD_ERROR_RATE
    assert [line.split()[2] for line in words] == text.split()
