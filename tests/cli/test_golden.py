"""End to end: an official checkpoint is quantized, loaded by the page and transcribed from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.app.golden import GOLDEN, golden
from tests.cli.conftest import RunTympan
from tympan.quantize.convert import quantize


@pytest.mark.parametrize(
    ("browser", "backend", "tolerance"),
    [
        ("chromium", "webgpu", 2e-3),
        ("chromium", "simd", 2e-3),
        ("chromium", "numpy", 1e-5),
        ("firefox", "webgpu", 2e-3),
        ("firefox", "simd", 2e-3),
    ],
)
def test_transcribe_prints_the_official_codes_tokens_and_logits(
    tmp_path: Path, tympan_in_browser: RunTympan, browser: str, backend: str, tolerance: float
) -> None:
    """tolerance: relative to the largest logit. WebGPU stores keys and values in float16, the CPU in int16."""
    model = tmp_path / "model"
    quantize(GOLDEN, model, "f32")
    options = ("--model", model, "--backend", backend, "--trace", "logits", "--format", "json", "--browser", browser)
    done = tympan_in_browser("transcribe", GOLDEN / "input.wav", *options)
    assert done.returncode == 0, done.stderr
    result, expected = json.loads(done.stdout), golden().expected
    n_frames, n_steps = expected["stream_codes"].shape[1], len(expected["primed_text_tokens"])
    np.testing.assert_array_equal(result["codes"][:n_frames], expected["stream_codes"].T)
    np.testing.assert_array_equal(result["tokens"][:n_steps], expected["primed_text_tokens"])
    logits = expected["primed_text_logits"]
    np.testing.assert_allclose(result["logits"][:n_steps], logits, atol=tolerance * np.abs(logits).max(), rtol=0)
    assert result["frames"] == 75
    assert result["seconds"] == 6.0
