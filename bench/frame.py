"""A frame of live audio through Mimi and the transformer on a GPU, in the page: until its text token is known.

Streams take turns: both stages on one device, the same with a vocabulary of 1,000 terms, and each stage on a device of
its own, where the codes pass through Python. Both models have the released size and random weights. If PyTorch with
CUDA and moshi are installed, the official implementation is measured in the same run.

With --browser, the site in dist/ is used as it was last built: see lm.py.
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
from bench.alone import measure_alone
from bench.lm import config_json_of
from bench.mimi_webgpu import speech
from bench.provenance import provenance
from bench.random_lm import hidden_width
from bench.summary import rounded, spread
from tympan.arrays import Float32
from tympan.cli.site import DIST, prepare
from tympan.config import FRAME_SAMPLES

MODULES = ("random_lm", "lm_webgpu_in_page", "mimi_webgpu_in_page", "frame_in_page")
N_TERMS = 1000
N_WARM = 20  # frames of the official implementation that are not counted
TIMEOUT_S = 540.0


def measure(n_frames: int, browser: str, site: Path) -> dict[str, Any]:
    """Run the benchmark and print a table. Returns the object of the last line. Raises CommandError.

    n_frames: per stream and round. browser, site: as in `measure_alone`.
    """
    config_json = config_json_of("1b")
    samples = speech(n_frames)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint.write(Path(scratch) / "mimi.safetensors")
        (Path(scratch) / "speech.f32").write_bytes(samples.tobytes())
        values = {
            "config_json": config_json, "hidden": hidden_width(config_json), "mimi_json": checkpoint.MIMI_JSON,
            "mimi_url": "/checkpoint/mimi.safetensors", "audio_url": "/checkpoint/speech.f32",
            "n_frames": n_frames, "n_terms": N_TERMS,
        }  # fmt: skip
        measured = measure_alone(
            MODULES, "measure", values, site=site, browser=browser, timeout_s=TIMEOUT_S,
            mounts={"/checkpoint/": Path(scratch)},
        )  # fmt: skip
    page = measured.value
    result = {
        "runs_on": page["runs_on"],
        **{name: spread(times_ms) | {"start_ms": rounded(np.median(page["start_ms"][name]))}
           for name, times_ms in page["frame_ms"].items()},
        "kernels_ms": {name: rounded(np.median(times_ms), 4) for name, times_ms in page["kernels_ms"].items()},
        "terms": N_TERMS,
        "nodes": page["n_nodes"],
        "official": _official_ms(config_json, samples),
        "frames": len(page["frame_ms"]["one_device"]),
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name:18} {value}")
    return {"frame": result, **provenance(measured.browser)}


def _official_ms(config_json: dict[str, Any], samples: Float32) -> dict[str, float] | None:
    """The official implementation with its initial weights, not compiled: per frame of Mimi and of the transformer."""
    os.environ["NO_TORCH_COMPILE"] = "1"
    if not find_spec("moshi") or not find_spec("torch"):
        return None
    import torch
    from moshi.models.lm import LMGen
    from moshi.models.loaders import get_mimi, get_moshi_lm

    if not torch.cuda.is_available():
        return None
    times_ms: dict[str, list[float]] = {"mimi": [], "lm": []}
    with torch.no_grad():
        mimi = get_mimi(None, checkpoint.MIMI_JSON, device="cuda", num_codebooks=config_json["n_q"])
        lm_config = {key: config_json[key] for key in config_json if key not in ("stt_config", "model_type")}
        lm = get_moshi_lm(None, lm_config, device="cuda", dtype=torch.bfloat16).eval()
        generator = LMGen(lm, temp=0.0, temp_text=0.0)
        with mimi.streaming(1), generator.streaming(1):
            for frame in torch.from_numpy(samples).cuda().split(FRAME_SAMPLES):
                started_s = perf_counter()
                codes = mimi.encode(frame[None, None])
                torch.cuda.synchronize()
                encoded_s = perf_counter()
                generator.step(codes)
                torch.cuda.synchronize()
                times_ms["mimi"].append((encoded_s - started_s) * 1000)
                times_ms["lm"].append((perf_counter() - encoded_s) * 1000)
    return {f"{name}_ms": rounded(np.median(times[N_WARM:])) for name, times in times_ms.items()}


def main(n_frames: int, browser: str, as_json: bool) -> bool:
    """Measure, print a table and, if as_json, one line of JSON after it."""
    result = measure(n_frames, browser, DIST if browser else prepare())
    if as_json:
        print(json.dumps(result))
    return True
