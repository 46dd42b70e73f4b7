"""Transcribes a recording of hours in the page and samples time and memory as it goes.

The recording repeats the utterances of one test set of bench/speech. It is opened through the file input, like a user's
file, so drawing and saving the transcript are part of the measurement. Ideally every 100 s of audio takes the same
time: the cost of an update must not depend on the number of words before it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from playwright.sync_api import CDPSession, Page

from bench.provenance import provenance
from tympan.cli.browser import version_of
from tympan.cli.errors import CommandError
from tympan.cli.transcribe import Options, opened_page

FOLDER = Path(__file__).parent
SPEECH = FOLDER / "speech" / "unseen_sentences.zip"
STEP_S = 100  # of audio, between two samples
POLL_MS = 250

# Decodes the utterances, joins them with a short pause and repeats the whole to `seconds`, as a 16-bit WAV file of
# 24 kHz. Parts of a Blob are references, so hours cost no more memory than one repetition.
_MAKE_FILE = """
async ([input, seconds]) => {
    const rate = 24000;
    const context = new OfflineAudioContext(1, 1, rate);
    const utterances = [];
    for (const file of input.files) {
        const audio = await context.decodeAudioData(await file.arrayBuffer());
        const samples = Int16Array.from(audio.getChannelData(0), (x) => 32767 * Math.max(-1, Math.min(1, x)));
        utterances.push(samples, new Int16Array(0.4 * rate));
    }
    const once = new Blob(utterances);
    const size = 2 * rate * seconds;
    const parts = Array(Math.floor(size / once.size)).fill(once);
    parts.push(once.slice(0, size % once.size));
    const header = new DataView(new ArrayBuffer(44));
    const text = (at, value) => [...value].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF"), header.setUint32(4, 36 + size, true), text(8, "WAVEfmt "), header.setUint32(16, 16, true);
    header.setUint16(20, 1, true), header.setUint16(22, 1, true), header.setUint32(24, rate, true);
    header.setUint32(28, 2 * rate, true), header.setUint16(32, 2, true), header.setUint16(34, 16, true);
    text(36, "data"), header.setUint32(40, size, true);
    window.long = { file: new File([header, ...parts], `${seconds}.wav`, { type: "audio/wav" }) };
}
"""

# Starts the transcription; records when it has passed each STEP_S of audio, and when the page is ready again.
_START = """
([step_s]) => {
    const root = document.documentElement;
    Object.assign(long, { passed_s: [], started_ms: null, is_done: false, error: "" });
    long.on_partial = ({ detail }) => {
        long.started_ms ??= performance.now();
        const now_s = (performance.now() - long.started_ms) / 1000;
        while (detail.seconds >= (long.passed_s.length + 1) * step_s) long.passed_s.push(now_s);
    };
    tympan.addEventListener("partial", long.on_partial);
    const observer = new MutationObserver(() => {
        if (root.dataset.state !== "ready" && root.dataset.state !== "error") return;
        long.total_s = (performance.now() - long.started_ms) / 1000;
        long.error = root.dataset.state === "error" ? document.querySelector("#error").textContent : "";
        long.is_done = true;
        observer.disconnect();
        tympan.removeEventListener("partial", long.on_partial);
    });
    observer.observe(root, { attributeFilter: ["data-state"] });
    const files = new DataTransfer();
    files.items.add(long.file);
    document.querySelector("#file").files = files.files;
    document.querySelector("#file").dispatchEvent(new Event("change"));
}
"""
_POLL = """
() => ({
    is_done: long.is_done, error: long.error, total_s: long.total_s, passed_s: long.passed_s,
    n_words: document.querySelectorAll("#transcript .word").length,
    python_mb: parseFloat(document.querySelector("#figures [data-figure=memory]")?.textContent) || 0,
})
"""


def measure(hours: Sequence[float], backend: str = "auto") -> dict[str, Any]:
    """Transcribe one recording for each length; print its curve. Returns the object of the last line.

    Raises CommandError if the page cannot transcribe.
    """
    long: dict[str, Any] = {}
    with opened_page(Options(backend=backend)) as page, tempfile.TemporaryDirectory() as folder:
        loaded = page.evaluate("tympan.ready")
        version = version_of(page)
        with ZipFile(SPEECH) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".opus"))
            files = [archive.extract(name, folder) for name in names]
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        _transcribe(page, devtools, files, STEP_S)  # not counted: the browser compiles its WebAssembly a second time
        for n_hours in hours:
            print(f"\n{n_hours:g} h of audio\n{'audio s':>8} {'s':>7} {'page s':>7} {'heap MB':>8} {'Python MB':>10}")
            long[f"{n_hours:g}"] = _transcribe(page, devtools, files, round(n_hours * 3600), is_shown=True)
    return {"long": long, "model": loaded["title"], "backend": loaded["backend"], **provenance(version)}


def _transcribe(
    page: Page, devtools: CDPSession, files: Sequence[str], seconds: int, is_shown: bool = False
) -> dict[str, Any]:
    """Transcribe `seconds` of audio. Returns the samples, the total time and its ratio to the first sample's pace."""
    chooser = page.evaluate_handle("Object.assign(document.createElement('input'), { type: 'file', multiple: true })")
    element = chooser.as_element()
    assert element is not None
    element.set_input_files(list(files))
    page.evaluate(_MAKE_FILE, [chooser, seconds])
    samples: list[dict[str, float]] = []
    before_s, before_page_s = 0.0, _page_figures(devtools)[1]
    page.evaluate(_START, [STEP_S])
    while True:
        polled = page.evaluate(_POLL)
        heap_mb, page_s = _page_figures(devtools)
        while len(samples) < len(polled["passed_s"]):
            now_s = polled["passed_s"][len(samples)]
            sample = {
                "audio_s": (len(samples) + 1) * STEP_S,
                "seconds": round(now_s - before_s, 3),
                "page_seconds": round(page_s - before_page_s, 3),
                "heap_mb": round(heap_mb, 1),
                "python_mb": polled["python_mb"],
                "words": polled["n_words"],
            }
            before_s, before_page_s = now_s, page_s
            samples.append(sample)
            if is_shown:
                print(
                    f"{sample['audio_s']:8} {sample['seconds']:7.2f} {sample['page_seconds']:7.2f} "
                    f"{sample['heap_mb']:8.1f} {sample['python_mb']:10.1f}",
                    flush=True,
                )
        if polled["error"]:
            raise CommandError(polled["error"])
        if polled["is_done"]:
            break
        page.wait_for_timeout(POLL_MS)
    ratio = polled["total_s"] / (samples[0]["seconds"] * seconds / STEP_S)
    if is_shown:
        print(f"{polled['total_s']:.1f} s in total, {ratio:.3f} times the pace of the first {STEP_S} s")
    return {
        "total_s": round(polled["total_s"], 2),
        "ratio": round(ratio, 3),
        "words": polled["n_words"],
        "samples": samples,
    }


def _page_figures(devtools: CDPSession) -> tuple[float, float]:
    """Megabytes of the page's JavaScript heap with its buffers, and CPU seconds that its main thread has spent."""
    heap = devtools.send("Runtime.getHeapUsage")
    metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    n_bytes = heap["usedSize"] + heap.get("backingStorageSize", 0)
    return n_bytes / 1e6, metrics["TaskDuration"]


def main(hours: Sequence[float], backend: str, as_json: bool) -> bool:
    """Measure and print the curves; with as_json also one line of JSON."""
    result = measure(hours, backend)
    if as_json:
        print(json.dumps(result))
    return True
