"""Generates the performance tables of the documents from bench/results/*.json.

Each table is between `<!-- table: NAME -->` and `<!-- /table -->`. Run `python -m bench.tables` after a result has
changed; a test compares the committed documents with the output. Values are rounded to the nearest; ties are rounded
against Tympan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bench.cells import as_mb_range, as_ms, as_percent, as_seconds, table
from bench.engine_tables import browsers, delays, levels
from tympan.cli.site import ROOT

Results: TypeAlias = Mapping[str, Mapping[str, Any]]  # file name without .json -> its content

RESULTS = ROOT / "bench" / "results"
DOCUMENTS = ("README.md", "docs/performance.md", "docs/models.md", "docs/exactness.md", "docs/browsers.md")

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def read_results() -> dict[str, Any]:
    """The content of every file in bench/results, by its name without the suffix."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def with_tables(document: str, results: Results) -> str:
    """The document with every marked table generated again. Raises KeyError for an unknown table."""

    def replace(match: re.Match[str]) -> str:
        return f"{match[1]}{TABLES[match[2]](results)}\n{match[3]}"

    return _MARKED.sub(replace, document)


def summary(results: Results) -> str:
    """The one table of the README."""
    rows = []
    pipelines = {
        "demo model, CPU": "pipeline-demo-simd",
        "1B size, random weights, CPU": "pipeline-1b-simd",
        "1B size, random weights, GPU": "pipeline-1b-h200",
    }
    for title, name in pipelines.items():
        pipeline = results[name]["pipeline"]
        rows.append([f"Processing time / audio duration: {title}", str(pipeline["rtf"]), _machine(results[name])])
    lm = results["lm-simd-1b"]
    times = [fill["median_ms"] for fill in lm["lm"]["ring_fill"].values()]
    rows.append(
        ["Transformer per 80 ms frame: 1B size, CPU", f"{as_ms(min(times))} to {as_ms(max(times))}", _machine(lm)]
    )
    mimi = results["mimi"]
    rows.append(["Mimi encoder per 80 ms frame, CPU, one thread", as_ms(mimi["mimi"]["median_ms"]), _machine(mimi)])
    start = results["start"]
    for title, prefix in {"first": "cold_", "later": ""}.items():
        usable, ready = (as_seconds(start["start"][f"{prefix}{key}_ms"]) for key in ("usable", "ready"))
        what = f"Page usable / demo model ready, {title} visit"
        rows.append([what, f"{usable} / {ready}", _machine(start)])
    return table(["measurement", "result", "machine"], rows)


def mimi(results: Results) -> str:
    """Mimi in the page and the same encoder elsewhere."""
    mimi = results["mimi"]["mimi"]
    speed = (
        f"{mimi['gflops']:.0f} GFLOP/s, {as_percent(mimi['gemm_share'])} of the kernels' peak with data in the cache"
    )
    equal = f"{as_percent(mimi['codes_equal_float32'], 2)} of the codes equal those of float32"
    rows = [
        ["Tympan, one frame per call", as_ms(mimi["median_ms"]), f"95th percentile {as_ms(mimi['p95_ms'])}; {speed}"],
        ["Tympan, eight frames per call, as for files", as_ms(mimi["together_median_ms"]), "same codes"],
        ['Tympan, `precision="float32"`', as_ms(mimi["float32_median_ms"]), f"int16 weights: {equal}"],
    ]
    if mimi["pytorch_median_ms"] is not None:
        rows.append(["PyTorch, the official encoder, one thread", as_ms(mimi["pytorch_median_ms"]), "not compiled"])
    rows.append(["Tympan with numpy alone", as_ms(mimi["numpy_median_ms"]), "no WebAssembly SIMD"])
    return table(["per frame of 80 ms", "median", "notes"], rows)


def mimi_gpu(results: Results) -> str:
    """Mimi on a large GPU, and the CPU of the same machine in the same run."""
    mimi = results["mimi-webgpu-h200"]["mimi"]
    live, files = mimi["kernels"]["1"], mimi["kernels"]["32"]
    equal = f"{as_percent(min(mimi['equal_codes_1'], mimi['equal_codes_32']), 2)} of the codes equal those of float32"
    quantizer = [f"of which the quantizer {as_ms(of['quantize']['ms'])}" for of in (live, files)]
    rows = [
        ["one frame per call, awaited", as_ms(mimi["median_ms"]), f"95th percentile {as_ms(mimi['p95_ms'])}; {equal}"],
        ["the same, by the GPU's clock", as_ms(live["all"]["ms"]), quantizer[0]],
        *(
            [f"{n} frames per call, as for files", as_ms(of), f"per frame; the CPU {as_ms(mimi['cpu_files_ms'])}"]
            for n, of in mimi["files_ms"].items()
        ),
        ["a call of 32 frames, by the GPU's clock", as_ms(files["all"]["ms"]), quantizer[1]],
        ["one frame per call on the CPU", as_ms(mimi["cpu_median_ms"]), "the same run"],
    ]
    return table(["Mimi, 1B size, on an H200", "median", "notes"], rows)


def frame(results: Results) -> str:
    """A frame of live audio through both stages on a large GPU."""
    frame = results["frame-h200"]["frame"]
    titles = {
        "one_device": "both stages on one device",
        "one_device_terms": f"the same, with {frame['terms']:,} terms",
        "two_devices": "a device for each stage, codes through Python",
    }
    rows = [
        [title, as_ms(frame[name]["median_ms"]), as_ms(frame[name]["p95_ms"]), as_ms(frame[name]["start_ms"])]
        for name, title in titles.items()
    ]
    if official := frame["official"]:
        total_ms = official["mimi_ms"] + official["lm_ms"]
        title = f"PyTorch, official: Mimi {as_ms(official['mimi_ms'])}, transformer {as_ms(official['lm_ms'])}"
        rows.append([title, as_ms(total_ms), "", ""])
    return table(["a live frame, 1B size, on an H200", "median", "95th percentile", "Python"], rows)


def memory(results: Results) -> str:
    """Memory of loaded parts, relative to their stored size."""
    rows = [["Mimi, 1B size, loading included", f"{results['mimi']['mimi']['heap_over_stored']:.2f}"]]
    for name in _lm_names(results):
        lm = results[name]["lm"]
        rows.append(
            [f"transformer, {lm['size']}, {lm['backend']} on {lm['runs_on']}", f"{lm['heap_over_weights']:.2f}"]
        )
    return table(["Python memory taken", "times the stored weights"], rows)


def lm(results: Results) -> str:
    """The transformer on every backend that was measured."""
    rows = []
    for name in _lm_names(results):
        lm = results[name]["lm"]
        times = [f"{as_ms(fill['median_ms'])} ({as_ms(fill['p95_ms'])})" for fill in lm["ring_fill"].values()]
        rows.append([f"{lm['size']}, {lm['backend']}", lm["runs_on"], *times, as_ms(lm["encode_ms"])])
    return table(["model, backend", "runs on", "cache empty", "half full", "full", "Python per frame"], rows)


def h100(results: Results) -> str:
    """The time of a frame on a large GPU by part, with a full KV cache."""
    name = "lm-webgpu-1b-h100"
    lm = results[name]["lm"]
    floats = next(
        layout["kernels_ms"]["all"]
        for layout in lm["layouts"]
        if "has_integers=False" in layout["tuning"] and "kernels_ms" in layout
    )
    share = f"{lm['matvec_bytes'] / 1e6:,.0f} MB: {as_percent(lm['bandwidth_share'])} of the bandwidth of a plain read"
    session = lm["session"]
    growth = f"Python memory grew by {session['heap_growth_bytes']:,} bytes after the first hundredth"
    rows = [
        ["all kernels, on the GPU's clock", as_ms(lm["kernels_ms"]["all"]), f"{lm['dispatches']} dispatches"],
        ["all kernels without `dot4I8Packed`", as_ms(floats), "Q4 multiplied as floats"],
        ["matrix products alone", as_ms(lm["matvecs_ms"]), f"{share}, {lm['read_gb_s'] / 1000:.1f} TB/s"],
        [f"{session['n_frames']:,} frames in one stream", as_ms(session["frame_ms"]), growth],
    ]
    return table(["per frame", "time", "notes"], rows)


def pipeline(results: Results) -> str:
    """Mimi and the transformer on a file in the page."""
    rows = []
    for name in (name for name in results if name.startswith("pipeline-")):
        run = results[name]["pipeline"]
        times = [str(run["rtf"]), as_ms(run["mimi_ms"]), as_ms(run["lm_ms"])]
        rows.append([f"{run['size']}, {run['backend']}", run["runs_on"], *times, f"{run['seconds']:g} s"])
    return table(["model, backend", "runs on", "real-time factor", "Mimi", "transformer", "audio"], rows)


def long(results: Results) -> str:
    """Time and memory over recordings of hours."""
    rows = []
    for n_hours, run in results["long"]["long"].items():
        samples = run["samples"]
        slowest = max(sample["seconds"] for sample in samples)
        rows.append(
            [
                f"{n_hours} h",
                f"{run['words']:,}",
                *(f"{seconds:.2f} s" for seconds in (samples[0]["seconds"], samples[-1]["seconds"], slowest)),
                f"{run['total_s']:,.0f} s",
                f"{run['ratio']:.2f}",
                *(as_mb_range([sample[key] for sample in samples]) for key in ("python_mb", "heap_mb")),
            ]
        )
    header = ["audio", "words", "first 100 s", "last 100 s", "slowest 100 s", "in total", "ratio"]
    return table([*header, "Python memory", "page's heap"], rows)


def load(results: Results) -> str:
    """Loading a model of the released size, for the CPU and on a GPU."""
    rows = []
    for name in (name for name in results if name.startswith("load-")):
        load = results[name]["load"]
        for title, key in {"model directory (safetensors)": "safetensors", "GGUF, Mimi in float16": "gguf"}.items():
            model = load[key]
            times = [f"{model[part]:.1f} s" for part in ("seconds", "stored_seconds")]
            rows.append([title, _machine(results[name]), *times, f"{model['peak_over_weights']:.2f}"])
    n_mb = f"{load['weight_bytes'] / 1e6:,.0f}"
    return table([f"{n_mb} MB of weights", "machine", "click to ready", "later visits", "peak memory / weights"], rows)


def start(results: Results) -> str:
    """From navigation to the first use."""
    start = results["start"]["start"]
    rows = [
        [title, as_seconds(start[f"{prefix}usable_ms"]), as_seconds(start[f"{prefix}ready_ms"])]
        for title, prefix in {"first": "cold_", "later, median of five": ""}.items()
    ]
    return table(["visit", "buttons work", "demo model ready"], rows)


def wer(results: Results) -> str:
    """Word error rates of the demo model in the page."""
    rows = []
    for name, rates in results["wer"]["wer"].items():
        if "words_per_minute" in rates:
            rows.append([f"`{name}`", f"{rates['words_per_minute']:.1f} a minute", "0", str(rates["n"]), ""])
            continue
        near = "" if rates["starts_near"] is None else as_percent(rates["starts_near"], 1)
        rows.append([f"`{name}`", as_percent(rates["wer"], 1), str(rates["words"]), str(rates["n"]), near])
    return table(["test set", "word error rate", "words", "files", "word starts within 0.16 s"], rows)


def stand_in(results: Results) -> str:
    """What `tympan verify` finds on the stand-in host, as it is and with one thing changed."""
    found = results["verify-stand-in"]["verify_stand_in"]
    rows = []
    for name, run in found["right"].items():
        maker = "the page" if name == "page" else "`tympan quantize`"
        counts = [f"{run[f'{what}_equal']:,} of {run[what]:,}" for what in ("codes", "tokens")]
        figures = [*counts, as_percent(run["wer"], 1), f"{run['seconds']:,} s"]
        outcome = "fails" if run["exit"] else "passes"
        rows.append([f"nothing; quantized by {maker}, {run['backend']}", *figures, outcome])
    for name, run in found["wrong"].items():
        reasons = "; ".join(run["reasons"])
        rows.append(
            [f"one {name}", "", "", "", f"{run['seconds']:,} s", f"fails: {reasons}" if run["exit"] else "passes"]
        )
    return table(["changed", "codes equal", "tokens equal", "wrong words", "took", "`tympan verify`"], rows)


def sources(results: Results) -> str:
    """Commit, date, machine and browser of every result."""
    rows = []
    for name, result in results.items():
        if "recorded" in result:
            commit, date = f"recorded in {result['recorded']['commit']}", result["recorded"]["date"]
        else:
            commit, date = result["commit"], result["date"][:10]
        link = f"[`{name}`](../bench/results/{name}.json)"
        rows.append([link, commit, date, _machine(result), result["browser"]])
    return table(["result", "commit", "date", "machine", "browser"], rows)


def terms(results: Results) -> str:
    """Errors on rare names and on other words by the size of the vocabulary."""
    result = results["terms"]
    counts = {"0": "none", "10": "10, the name among them", "100": "100", "1000": "1,000"}
    rows = {title: result["terms"][count] for count, title in counts.items()}
    rows["1,000, none of which is spoken"] = result["unspoken"]
    errors = [[as_percent(rates[key], 1) for key in ("term_errors", "other_errors")] for rates in rows.values()]
    return table(
        ["terms", "names wrong", "other words wrong"],
        [[title, *cells] for title, cells in zip(rows, errors, strict=True)],
    )


TABLES: dict[str, Callable[[Results], str]] = {
    function.__name__: function
    for function in (
        summary,
        mimi,
        mimi_gpu,
        frame,
        memory,
        lm,
        h100,
        pipeline,
        long,
        load,
        start,
        wer,
        terms,
        browsers,
        levels,
        delays,
        stand_in,
        sources,
    )
}


def _lm_names(results: Results) -> list[str]:
    return [name for name in results if name.startswith("lm-")]


def _machine(result: Mapping[str, Any]) -> str:
    """The machine of a result, with the short name of its processor."""
    machine = result["machine"]
    cpu = f"{machine['cpu'].replace('(R)', '').removesuffix(' Processor')}, {machine['n_cpus']} cores"
    return f"{machine['gpu']}; {cpu}" if "gpu" in machine else cpu


def main() -> None:
    results = read_results()
    for name in DOCUMENTS:
        path: Path = ROOT / name
        path.write_text(with_tables(path.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main()
