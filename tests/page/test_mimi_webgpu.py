"""The page with Mimi on the GPU: the same transcript, also after the GPU was lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, expect
from safetensors.numpy import load_file, save

from tests.app.golden import GOLDEN, golden
from tests.page.test_device_loss import LOSE, LOSE_FOR_GOOD
from tests.page.test_transcribe import wav
from tests.page.tympan_page import TympanPage
from tympan.cli.server import serving
from tympan.protocol import SAMPLE_RATE_HZ
from tympan.quantize.convert import quantize

pytestmark = pytest.mark.needs("playwright", "webgpu", "scripts in workers")

AUDIO_S = 2.5
MIN_EQUAL_CODES = 0.99  # on the CPU, the matrices of Mimi's transformer are rounded to 16 bits


@pytest.fixture(scope="module")
def url(tympan_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with the golden model, whose encoder a software GPU runs fast, in the formats of the demo model."""
    folder = tmp_path_factory.mktemp("golden")
    checkpoint = folder / "checkpoint"
    shutil.copytree(GOLDEN, checkpoint)
    (checkpoint / "mimi.safetensors").write_bytes(save(in_integers(load_file(GOLDEN / "mimi.safetensors"))))
    quantize(checkpoint, folder / "model")
    with serving(tympan_site, mounts={"/golden/": folder / "model"}) as site:
        yield f"{site}/?trace=1&backend=simd&model={site}/golden"


def in_integers(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The encoder with matrices in float16, those of its transformer in int8, scaled by its norms and layer scales."""
    result = {name: tensor.astype(np.float16) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    scaled = {
        "self_attn.in_proj_weight": ("norm1.weight", "norm1.bias"),
        "self_attn.out_proj.weight": ("layer_scale_1.scale",),
        "linear1.weight": ("norm2.weight", "norm2.bias"),
        "linear2.weight": ("layer_scale_2.scale",),
    }
    for i in range(golden().mimi.config.transformer.n_layers):
        layer = f"encoder_transformer.transformer.layers.{i}"
        for matrix, vectors in scaled.items():
            scale = np.abs(tensors[f"{layer}.{matrix}"]).max() / 127
            result[f"{layer}.{matrix}"] = np.rint(tensors[f"{layer}.{matrix}"] / scale).astype(np.int8)
            result |= {f"{layer}.{vector}": tensors[f"{layer}.{vector}"] * scale for vector in vectors}
    return result


@pytest.fixture(scope="module")
def sound() -> bytes:
    """The first seconds of the golden recording, as a WAV file."""
    return wav(golden().pcm[: int(AUDIO_S * SAMPLE_RATE_HZ)], SAMPLE_RATE_HZ)


def test_mimi_on_the_gpu_continues_on_the_cpu_when_the_gpu_is_lost(
    context: BrowserContext, url: str, sound: bytes
) -> None:
    on_cpu = TympanPage.open(context, url)
    expected = on_cpu.transcribe(sound)
    assert len(expected["words"]) > 3
    assert on_cpu.page.evaluate("tympan.ready")["mimi"] == "cpu"
    on_cpu.close()

    tympan = TympanPage.open(context, f"{url}&mimi=webgpu")
    info = tympan.page.evaluate("tympan.ready")
    assert (info["mimi"], info["mimi_why"]["kind"]) == ("webgpu", "asked")
    expect(tympan.page.locator("#model")).to_contain_text("Mimi on WebGPU")
    undisturbed = tympan.transcribe(sound)
    assert undisturbed["text"] == expected["text"]
    assert (np.array(undisturbed["codes"]) == np.array(expected["codes"])).mean() > MIN_EQUAL_CODES

    [worker] = [worker for worker in tympan.page.workers if worker.evaluate("'GPUDevice' in globalThis")]
    worker.evaluate(LOSE, 2)
    again = tympan.transcribe(sound)
    assert worker.evaluate("devices") == 1, "the encoder was loaded on a new device"
    assert again["codes"] == undisturbed["codes"]

    worker.evaluate(LOSE, 2)
    worker.evaluate(LOSE_FOR_GOOD)
    disturbed = tympan.transcribe(sound)
    assert disturbed["text"] == undisturbed["text"]
    assert tympan.page.evaluate("tympan.ready")["mimi"] == "cpu"
    expect(tympan.page.locator("#model")).not_to_contain_text("Mimi on WebGPU")
