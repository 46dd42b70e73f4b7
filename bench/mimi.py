"""Mimi at the released size, in the page: milliseconds per 80 ms frame.

The weights are random (checkpoint.py), which takes the same time as trained ones. For comparison, the same run measures
the encoder in float32, in numpy and, if moshi is installed, the official encoder in PyTorch on one thread.
"""

from __future__ import annotations

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench import checkpoint
from bench.page import BenchPage, bench_page
from bench.provenance import provenance
from bench.summary import rounded, spread
from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES

N_FRAMES, N_NUMPY_FRAMES = 250, 15
N_WARM = 25  # warm-up frames, not counted: the browser recompiles its WebAssembly with more optimization
N_TOGETHER = 8
SEED = 11


def measure() -> dict[str, Any]:
    """Run all measurements and print a table. Returns the JSON object of the last line. Raises CommandError."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "mimi.safetensors"
        checkpoint.write(path)
        audio = np.random.default_rng(SEED).uniform(-0.3, 0.3, (N_WARM + N_FRAMES) * FRAME_SAMPLES).astype(np.float32)
        with bench_page("mimi_in_page.py", {"/checkpoint/": Path(scratch)}) as page:
            result = _in_page(page, audio, path.stat().st_size)
            browser = page.browser
        result["pytorch_median_ms"] = _pytorch_median_ms(audio) if find_spec("moshi") else None
    _print_table(result)
    return {"mimi": result, **provenance(browser)}


def _in_page(page: BenchPage, audio: Float32, n_stored_bytes: int) -> dict[str, Any]:
    loaded = _load(page, "auto", "int16")
    stream = page.call("run", samples=audio.tolist(), n_together=1)
    times_ms = np.array(stream["times_ms"][N_WARM:])
    together = page.call("run", samples=audio.tolist(), n_together=N_TOGETHER)
    ceilings = page.call("ceilings")
    _load(page, "auto", "float32")
    exact = page.call("run", samples=audio.tolist(), n_together=1)
    _load(page, "numpy", "float32")
    numpy = page.call("run", samples=audio[: N_NUMPY_FRAMES * FRAME_SAMPLES].tolist(), n_together=1)
    codes, exact_codes = np.array(stream["codes"]), np.array(exact["codes"])
    median_s = float(np.median(times_ms)) / 1000
    gflops = 2 * checkpoint.n_multiplications() / median_s / 1e9
    return {
        **spread(times_ms),
        "together_median_ms": rounded(np.median(together["times_ms"][N_WARM // N_TOGETHER + 1 :])),
        "float32_median_ms": rounded(np.median(exact["times_ms"][N_WARM:])),
        "numpy_median_ms": rounded(np.median(numpy["times_ms"][1:])),
        "gflops": rounded(gflops),
        "gemm_ceiling_gflops": rounded(ceilings["gflops"]),
        "gemm_share": rounded(gflops / ceilings["gflops"]),
        "memory_ceiling_gb_s": rounded(ceilings["gb_s"]),
        "memory_share": rounded(checkpoint.n_bytes_a_frame() / median_s / 1e9 / ceilings["gb_s"]),
        "level": loaded["level"],
        "load_s": rounded(loaded["load_s"]),
        "heap_over_stored": rounded(loaded["heap_bytes"] / n_stored_bytes),
        "codes_equal_float32": float((codes == exact_codes).mean()),
        "first_codes_equal_float32": float((codes == exact_codes)[:, 0].mean()),
        "together_equal": together["codes"] == stream["codes"],
        "frames": N_FRAMES,
    }


def _load(page: BenchPage, level: str, precision: str) -> dict[str, Any]:
    url = "/checkpoint/mimi.safetensors"
    loaded = page.call("load", url=url, config=checkpoint.MIMI_JSON, level=level, precision=precision)
    return dict(loaded)


def _pytorch_median_ms(audio: Float32) -> float:
    """The official encoder with its initial weights: streaming, one thread, not compiled."""
    os.environ["NO_TORCH_COMPILE"] = "1"
    import torch
    from moshi.models.compression import MimiModel
    from moshi.models.loaders import get_mimi

    torch.set_num_threads(1)
    with torch.no_grad():
        mimi: MimiModel = get_mimi(None, checkpoint.MIMI_JSON, num_codebooks=checkpoint.CONFIG.n_codebooks)
        mimi.eval()
        times_ms = []
        with mimi.streaming(1):
            for frame in torch.from_numpy(audio).split(FRAME_SAMPLES):
                started_s = perf_counter()
                mimi.encode(frame[None, None])
                times_ms.append((perf_counter() - started_s) * 1000)
    return rounded(np.median(times_ms[N_WARM:]))


def _print_table(result: dict[str, Any]) -> None:
    for name, value in result.items():
        print(f"{name:26} {value}")


def main(as_json: bool) -> bool:
    """Measure and print a table, followed by one line of JSON if as_json is set."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
