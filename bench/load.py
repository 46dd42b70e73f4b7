"""Measures loading a whole model into the page: time from the click to ready, and peak memory.

A model of the released size with random weights is loaded from a model directory and from a GGUF file with the
published layout and Mimi in float16, each in a new profile on the disk, after the browser has stored the site; and a
second time from the browser's storage: from navigation to ready. The server is local, so the time is that of the page:
fetching, hashing, storing, reading back, and uploading. The memory is that of the renderer process, which runs Python;
WebGPU's buffers are in the GPU process.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from playwright.sync_api import Page

from bench import checkpoint
from bench.provenance import provenance
from bench.start import RECORD_TIMES, visit
from tympan.cli.browser import opened, version_of
from tympan.cli.server import serving
from tympan.cli.site import ROOT, prepare
from tympan.config import LMConfig
from tympan.quantize.gguf import write_gguf
from tympan.quantize.shards import describe, write_shards
from tympan.weights.blocks import BLOCK
from tympan.weights.manifest import MANIFEST_NAME, Manifest
from tympan.weights.model import Folder, read_model
from tympan.weights.q4 import Q4Matrix
from tympan.weights.safetensors import Tensor

SEED = 13
TIMEOUT_MS = 600_000

_DEMO = ROOT / "static" / "models" / "demo"
_RELEASED = "stt-1b-en_fr"  # in the catalogue
_HIDDEN = 5632
_SCALE = np.float16(0.004)

_READY = """
async () => {
    document.querySelector("#download")?.click();
    await window.tympan.ready;
}
"""


def measure() -> dict[str, Any]:
    """Load both models and print a table. Returns the JSON object of the last line. Raises CommandError."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("safetensors", "gguf")}
        write_random(folders["safetensors"])
        _write_as_gguf(folders["safetensors"], folders["gguf"])
        n_weight_bytes = Manifest.parse((folders["safetensors"] / MANIFEST_NAME).read_bytes()).n_bytes
        loaded = {}
        with serving(prepare(), mounts={f"/{name}/": folder for name, folder in folders.items()}) as url:
            for name in folders:
                address = f"{url}/?model=/{name}/"
                with opened(address, keeps_site=True, profile=Path(scratch) / f"profile-{name}") as page:
                    loaded[name] = _load(page, n_weight_bytes)
                    loaded[name] |= {"backend": page.evaluate("tympan.ready")["backend"]}
                    loaded[name] |= {"stored_seconds": _load_stored(page, address)}
                    version = version_of(page)
    for name, result in loaded.items():
        print(
            f"{name:12} {result['seconds']:7.1f} s   from storage {result['stored_seconds']:7.1f} s   "
            f"peak over weights {result['peak_over_weights']}"
        )
    slowest = {key: max(result[key] for result in loaded.values()) for key in ("seconds", "stored_seconds")}
    peaks = [result["peak_over_weights"] for result in loaded.values()]
    load = {"size": "1b", "weight_bytes": n_weight_bytes, **loaded, **slowest}
    return {"load": load | {"peak_over_weights": None if None in peaks else max(peaks)}, **provenance(version)}


def _load(page: Page, n_weight_bytes: int) -> dict[str, Any]:
    """Click the download button and wait until the model is ready."""
    page.set_default_timeout(TIMEOUT_MS)
    page.wait_for_selector("#download")
    page.evaluate("navigator.serviceWorker.ready.then(() => {})")  # the site is stored
    process = _renderer(page)
    before_bytes = _reset_peak(process)
    started_s = perf_counter()
    page.evaluate(_READY)
    seconds = perf_counter() - started_s
    peak_bytes = _memory(process, "VmHWM")
    over = None if before_bytes is None or peak_bytes is None else (peak_bytes - before_bytes) / n_weight_bytes
    return {"seconds": round(seconds, 2), "peak_over_weights": None if over is None else round(over, 3)}


def _load_stored(page: Page, address: str) -> float:
    """Close the page, open it again in the same profile, and return the seconds from navigation to ready."""
    context = page.context
    page.close()
    context.add_init_script(RECORD_TIMES)
    return round(visit(context, address)["ready_ms"] / 1000, 2)


def _renderer(page: Page) -> Path:
    """The folder under /proc of the renderer process, which also runs the page's workers."""
    browser = page.context.browser
    assert browser is not None
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [Path("/proc") / str(process["id"]) for process in processes if process["type"] == "renderer"]
    return max(renderers, key=lambda process: _memory(process, "VmRSS") or 0)


def _reset_peak(process: Path) -> int | None:
    """Reset the peak memory counter. Returns the current memory in bytes, or None outside Linux."""
    if not (process / "clear_refs").exists():
        return None
    (process / "clear_refs").write_text("5")
    return _memory(process, "VmRSS")


def _memory(process: Path, key: str) -> int | None:
    if not (process / "status").exists():
        return None
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def write_random(folder: Path) -> None:
    """Write a model directory of the released size with random weights."""
    folder.mkdir()
    catalogue = json.loads((ROOT / "static" / "models" / "catalogue.json").read_text("utf-8"))
    released = next(model for model in catalogue["models"] if model["id"] == _RELEASED)
    lm_files = write_shards(folder, "lm", _random_lm(LMConfig.from_json(released["config"])))
    checkpoint.write(folder / "mimi.safetensors")
    tokenizer = folder / "tokenizer.model"
    tokenizer.write_bytes((_DEMO / "tokenizer.model").read_bytes())
    manifest = Manifest(
        name="random",
        title="Random weights",
        languages=(),
        licence="none",
        source="random numbers",
        notes="",
        config_json=released["config"],
        mimi_config_json=released["mimi_config"],
        files=(*lm_files, describe(folder / "mimi.safetensors", "mimi"), describe(tokenizer, "tokenizer")),
    )
    (folder / MANIFEST_NAME).write_text(manifest.serialize(), "utf-8")


def _random_lm(config: LMConfig) -> Iterator[tuple[str, Tensor]]:
    d, rng = config.transformer.d, np.random.default_rng(SEED)

    def matrix(name: str, n: int, k: int) -> Iterator[tuple[str, Tensor]]:
        yield f"{name}.q4", rng.integers(0, 256, (n, k // BLOCK, BLOCK // 2), np.uint8)
        # Signs, because 4-bit numbers have a mean below 0: otherwise every frame would produce the same token.
        yield f"{name}.scale", rng.choice(np.array([-_SCALE, _SCALE]), (n, k // BLOCK))

    for i in range(config.n_codebooks):
        yield from matrix(f"emb.{i}.weight", config.card + 1, d)
    yield from matrix("text_emb.weight", config.text_card + 1, d)
    for i in range(config.transformer.n_layers):
        layer = f"transformer.layers.{i}"
        yield from matrix(f"{layer}.self_attn.in_proj_weight", 3 * d, d)
        yield from matrix(f"{layer}.self_attn.out_proj.weight", d, d)
        yield from matrix(f"{layer}.gating.linear_in.weight", 2 * _HIDDEN, d)
        yield from matrix(f"{layer}.gating.linear_out.weight", d, _HIDDEN)
        yield from ((f"{layer}.norm{j}.alpha", np.ones((1, 1, d), np.float32)) for j in (1, 2))
    yield "out_norm.alpha", np.ones((1, 1, d), np.float32)
    yield from matrix("text_linear.weight", config.text_card, d)


def _write_as_gguf(source: Path, dest: Path) -> None:
    """Write the same model with the transformer in one GGUF file and Mimi in float16."""
    dest.mkdir()
    files = asyncio.run(read_model(Folder(source)))
    lm: dict[str, Tensor | Q4Matrix] = {}
    for name in files.lm:
        stem, _, part = name.rpartition(".")
        if part == "q4":
            blocks, scale = files.lm[name].astype(np.uint8), files.lm[f"{stem}.scale"].astype(np.float16)
            lm[stem] = Q4Matrix(blocks, scale, blocks.shape[1] * BLOCK)
        elif part != "scale":
            lm[name] = files.lm[name]
    write_gguf(dest / "lm.gguf", lm)
    mimi_files = write_shards(dest, "mimi", ((name, _to_float16(name, files.mimi[name])) for name in files.mimi))
    tokenizer = dest / "tokenizer.model"
    tokenizer.write_bytes(files.tokenizer)
    described = (describe(dest / "lm.gguf", "lm"), *mimi_files, describe(tokenizer, "tokenizer"))
    (dest / MANIFEST_NAME).write_text(replace(files.manifest, files=described).serialize(), "utf-8")


def _to_float16(name: str, tensor: Tensor) -> Tensor:
    return tensor if "_codebook." in name else tensor.astype(np.float16)


def main(as_json: bool) -> bool:
    """Measure and print a table; with as_json also one line of JSON."""
    result = measure()
    if as_json:
        print(json.dumps(result))
    return True
