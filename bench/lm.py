"""Benchmark of the transformer on one backend, in the page: ms per 80 ms frame at several fills of the KV cache.

The weights are random and of full size; trained weights would take the same time. The results for a few frames are
compared with the numpy transformer, which runs outside of the page on the same weights.

With --browser, the site in dist/ is used as it was last built. This needs only Python, numpy, a browser and dist/, so
it runs where nothing can be installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.alone import measure_alone
from bench.provenance import provenance
from bench.random_lm import hidden_width, random_codes, random_lm
from bench.summary import spread
from tympan.cli.site import DIST, ROOT, prepare
from tympan.config import LMConfig
from tympan.lm.backend_selection import n_multiplications
from tympan.lm.reference import Reference
from tympan.lm.weights import LMWeights
from tympan.weights.matrix import n_bytes_of

MODULES = ("random_lm", "lm_webgpu_in_page", "lm_in_page")
N_CHECKED = 4
TOLERANCES = {"webgpu": 2e-3, "numpy": 1e-5, "simd": 2e-2}  # of the largest logit
TIMEOUT_S = 540.0

_MODELS = ROOT / "static" / "models"
_RELEASED = "stt-1b-en_fr"


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    size: str  # "1b" or "demo"
    backend: str
    n_frames: int  # at each fill of the KV cache
    n_session_frames: int  # of one more stream, whose memory growth is measured; 0: none
    with_layouts: bool  # whether to time other parameters of the WebGPU kernels too


def measure(plan: Plan, browser: str, site: Path) -> dict[str, Any]:
    """Run the benchmark and print a table. Returns the object of the last line. Raises CommandError.

    browser, site: as in `measure_alone`.
    """
    config_json = config_json_of(plan.size)
    context, hidden = int(config_json["context"]), hidden_width(config_json)
    values = {
        "config_json": config_json,
        "hidden": hidden,
        "backend": plan.backend,
        "fills": [0, context // 2, context],
        "n_frames": plan.n_frames,
        "n_checked": N_CHECKED,
        "n_session_frames": plan.n_session_frames,
        "with_layouts": plan.with_layouts,
    }
    measured = measure_alone(MODULES, "measure", values, site=site, browser=browser, timeout_s=TIMEOUT_S)
    page = measured.value
    config = LMConfig.from_json(config_json)
    weights = random_lm(config, hidden)
    error, same_tokens = _compare(config, weights, page["results"])
    frame_ms = {fill: spread(times_ms) for fill, times_ms in page["frame_ms"].items()}
    lm = {
        "backend": plan.backend,
        "size": plan.size,
        "runs_on": page["runs_on"],
        "checked": bool(same_tokens and error <= TOLERANCES[plan.backend]),
        "relative_error": float(f"{error:.2g}"),
        "ring_fill": frame_ms,
        "gmac_s": round(n_multiplications(weights) / frame_ms["0"]["median_ms"] / 1e6, 2),
        "heap_over_weights": round(page["heap_bytes"] / _stored_bytes(weights), 3),
        "encode_ms": round(float(np.median(page["start_ms"])), 3),
        "load_s": round(page["load_s"], 2),
        "session": _rounded(page["session"]),
        **_rounded(page["more"]),
    }
    for name, value in lm.items():
        print(f"{name:20} {value}")
    return {"lm": lm, **provenance(measured.browser)}


def config_json_of(size: str) -> dict[str, Any]:
    """Return the config of a size, as in a manifest. size: "1b" or "demo"."""
    if size == "demo":
        manifest: dict[str, Any] = json.loads((_MODELS / "demo" / "model.json").read_text("utf-8"))
    else:
        catalogue = json.loads((_MODELS / "catalogue.json").read_text("utf-8"))
        manifest = next(model for model in catalogue["models"] if model["id"] == _RELEASED)
    return dict(manifest["config"])


def _stored_bytes(weights: LMWeights) -> int:
    """Bytes of the matrices in a file."""
    return sum(n_bytes_of(matrix) for matrix in (*weights.tables, *weights.matrices()))


def _compare(
    config: LMConfig, weights: LMWeights, results: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[float, bool]:
    """The largest error of a logit, relative to the reference's largest logit, and whether all tokens are equal."""
    reference = Reference(config, weights)
    errors, same_tokens = [], True
    for fill, steps in results.items():
        state = reference.new_state()
        state.position, before = int(fill), None
        for step, frame in zip(steps, random_codes(config, len(steps)), strict=True):
            wanted = reference.step(state, frame, text=before, want_logits=True).step
            assert wanted.logits is not None
            errors.append(np.abs(np.array(step["logits"]) - wanted.logits).max() / np.abs(wanted.logits).max())
            before = step["token"]
            same_tokens &= before == wanted.token
    return float(max(errors)), same_tokens


def _rounded(values: Any) -> Any:
    """The same value with every float rounded to four digits."""
    if isinstance(values, dict):
        return {name: _rounded(value) for name, value in values.items()}
    return float(f"{values:.4g}") if isinstance(values, float) else values


def main(plan: Plan, browser: str, as_json: bool) -> bool:
    """Measure, print a table and, if as_json, one line of JSON after it. Returns whether the results were correct."""
    result = measure(plan, browser, DIST if browser else prepare())
    if as_json:
        print(json.dumps(result))
    return bool(result["lm"]["checked"])
