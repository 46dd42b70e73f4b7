"""The whole way at once: an official checkpoint quantized, loaded by the page, run by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantize.convert import quantize
from tests.app.golden import GOLDEN, golden

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("backend", "tolerance"), [("webgpu", 2e-3), ("simd", 2e-3), ("numpy", 1e-5)])
def test_the_official_codes_tokens_and_logits_come_out_of_the_command(
    tmp_path: Path, backend: str, tolerance: float
) -> None:
    """tolerance: of the largest logit. WebGPU holds keys and values in half floats, the CPU in int16."""
    model = tmp_path / "model"
    quantize(GOLDEN, model, "f32")
    command = [sys.executable, "-m", "cli.main", "transcribe", str(GOLDEN / "input.wav"), "--model", str(model)]
    command += ["--backend", backend, "--trace", "logits", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result, expected = json.loads(done.stdout), golden().expected
    n_frames, n_steps = expected["stream_codes"].shape[1], len(expected["primed_text_tokens"])
    np.testing.assert_array_equal(result["codes"][:n_frames], expected["stream_codes"].T)
    np.testing.assert_array_equal(result["tokens"][:n_steps], expected["primed_text_tokens"])
    logits = expected["primed_text_logits"]
    np.testing.assert_allclose(result["logits"][:n_steps], logits, atol=tolerance * np.abs(logits).max(), rtol=0)
    assert result["frames"] == 75
    assert result["seconds"] == 6.0
