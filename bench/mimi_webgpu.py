"""Mimi on WebGPU at the released size, in the page, with the CPU encoder in the same run.

The weights are random (checkpoint.py), which takes the same time as trained ones. The codes of speech are compared with
those of the CPU encoder in float32. With --browser, the site in dist/ is used as it was last built: see lm.py.
"""

from __future__ import annotations

import json
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import checkpoint
from bench.alone import measure_alone
from bench.provenance import provenance
from bench.summary import rounded, spread
from tympan.arrays import Float32
from tympan.cli.site import DIST, ROOT, prepare
from tympan.config import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.resample import Resampler

MODULES = ("lm_webgpu_in_page", "mimi_webgpu_in_page")
TIMEOUT_S = 540.0
N_CHECKED = 160  # frames whose codes are compared
MIN_EQUAL, MIN_EQUAL_FIRST = 0.999, 1.0  # codes, and codes of the first codebook


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    n_frames: int
    with_layouts: bool  # whether to time other parameters of the kernels too
    is_half: bool  # whether the matrices are stored in float16


def measure(plan: Plan, browser: str, site: Path) -> dict[str, Any]:
    """Run the benchmark and print a table. Returns the object of the last line. Raises CommandError."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "mimi.safetensors"
        checkpoint.write(path, np.float16 if plan.is_half else np.float32)
        (Path(scratch) / "speech.f32").write_bytes(speech(plan.n_frames).tobytes())
        values = {
            "url": "/checkpoint/mimi.safetensors", "audio_url": "/checkpoint/speech.f32",
            "config_json": checkpoint.MIMI_JSON, "n_checked": min(N_CHECKED, plan.n_frames),
            "n_frames": plan.n_frames, "with_layouts": plan.with_layouts,
        }  # fmt: skip
        measured = measure_alone(
            MODULES, "measure", values, site=site, browser=browser, timeout_s=TIMEOUT_S,
            mounts={"/checkpoint/": Path(scratch)},
        )  # fmt: skip
    page = measured.value
    live_ms, start_ms = page.pop("live_ms"), page.pop("live_start_ms")
    result = {
        "backend": "webgpu",
        "weights": "float16" if plan.is_half else "float32",
        "checked": _is_exact(page),
        **spread(live_ms),
        "start_ms": rounded(np.median(start_ms)),
        "cpu_median_ms": rounded(np.median(page.pop("cpu_live_ms"))),
        "memory_over_weights": rounded((page["weight_bytes"] + page["scratch_bytes"]) / page["weight_bytes"]),
        **page,
        "kernels": {n: _with_rates(groups, page) for n, groups in page["kernels"].items()},
        "frames": plan.n_frames,
    }
    for name, value in result.items():
        if name not in ("kernels", "layouts"):
            print(f"{name:22} {value}")
    for n, groups in result["kernels"].items():
        for group, of in groups.items():
            print(f"{n:>3} frames  {group:24} {of}")
    return {"mimi": result, **provenance(measured.browser)}


def _is_exact(page: dict[str, Any]) -> bool:
    """Whether enough codes equal those of the CPU."""
    return all(
        page[f"equal_codes_{n}"] >= MIN_EQUAL and page[f"equal_first_codes_{n}"] >= MIN_EQUAL_FIRST for n in (1, 32)
    )


def _with_rates(groups: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """Each group with the share of the bandwidth and of the float32 rate that it reaches."""
    return {
        group: {
            "ms": rounded(of["ms"], 4),
            "dispatches": of["dispatches"],
            "bandwidth_share": rounded(of["weight_bytes"] / of["ms"] / 1e6 / page["read_gb_s"]),
            "fma_share": rounded(2 * of["macs"] / of["ms"] / 1e6 / page["fma_gflops"]),
        }
        for group, of in groups.items()
    }


def speech(n_frames: int) -> Float32:
    """Return frames of the sample recording, repeated: float32 (n_frames * 1920,)."""
    with wave.open(str(ROOT / "static" / "sample.wav")) as file:
        rate_hz, content = file.getframerate(), file.readframes(file.getnframes())
    samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
    if rate_hz != SAMPLE_RATE_HZ:
        samples = Resampler(rate_hz, SAMPLE_RATE_HZ)(samples)
    return np.resize(samples, n_frames * FRAME_SAMPLES)


def main(plan: Plan, browser: str, as_json: bool) -> bool:
    """Measure, print a table and, if as_json, one line of JSON after it. Returns whether the codes were right."""
    result = measure(plan, browser, DIST if browser else prepare())
    if as_json:
        print(json.dumps(result))
    return bool(result["mimi"]["checked"])
