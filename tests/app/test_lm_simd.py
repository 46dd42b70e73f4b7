"""The SIMD backend against the official outputs, and against numpy with the same weights."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.app.golden import golden
from tests.app.golden_lm import STREAMS, frames, heads_of, in_all_formats, in_q4, logits_of, official, official_tokens
from tests.app.golden_lm import reference_steps as reference_steps_of_golden
from tests.awaiting import run
from tests.conftest import PyodidePage
from tympan.arrays import Int32
from tympan.config import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tympan.lm.reference import Reference
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.resample import Resampler
from tympan.text.tokenizer import Tokenizer
from tympan.weights.model import Folder, ModelFiles, read_model

RELATIVE_TOLERANCE = 2e-3  # of the largest logit
EQUAL_TOKENS = 0.99

ROOT = Path(__file__).parents[2]

CREATE = """
import numpy as np
from tympan.lm.simd.backend import SimdBackend
from tympan.wasm import module

assert module.use(level) == level
backend = await SimdBackend.create(config, weights)
module.use()

async def run(backend, frames, **options):
    state = backend.new_state()
    return [await backend.step(state, frame, **options) for frame in frames]
"""


def run_in_page(
    page: PyodidePage, source: str, weights: LMWeights | None = None, level: str = "relaxed", **values: Any
) -> Any:
    named = {"config": golden().lm_config, "weights": weights or golden().lm_weights, "frames": frames()}
    return page.run(f"{CREATE}\n{source}\nresult", level=level, **(named | values))


@pytest.mark.parametrize("level", ["relaxed", "simd"])
@pytest.mark.parametrize("convert", [lambda weights: weights, in_q4, in_all_formats])
def test_tokens_and_logits_match_numpy(
    pyodide_page: PyodidePage, convert: Callable[[LMWeights], LMWeights], level: str
) -> None:
    weights = convert(golden().lm_weights)
    steps = run_in_page(pyodide_page, "result = await run(backend, frames, want_logits=True)", weights, level)

    wanted = reference_steps_of_golden(weights)
    assert len(steps) > 3 * golden().lm_config.transformer.context, "the KV cache wraps"
    assert [step.token for step in steps] == [step.token for step in wanted]
    atol = RELATIVE_TOLERANCE * np.abs(logits_of(wanted)).max(axis=1).min()
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=atol, rtol=0)
    np.testing.assert_allclose(heads_of(steps), heads_of(wanted), atol=RELATIVE_TOLERANCE, rtol=0)


def test_float32_weights_match_the_official_outputs(pyodide_page: PyodidePage) -> None:
    steps = run_in_page(pyodide_page, "result = await run(backend, frames, want_logits=True)")

    assert [step.token for step in steps] == official_tokens()
    atol = RELATIVE_TOLERANCE * np.abs(official("text_logits")).max()
    np.testing.assert_allclose(logits_of(steps), official("text_logits"), atol=atol, rtol=0)


def test_logits_are_returned_on_request_and_not_overwritten(pyodide_page: PyodidePage) -> None:
    unrequested, first, again = run_in_page(
        pyodide_page,
        """
unrequested = await run(backend, frames[:2])
state = backend.new_state()
first = await backend.step(state, None, want_logits=True)
kept = first.logits.copy()
await backend.step(state, frames[1], want_logits=True)
result = [step.logits for step in unrequested], kept, first.logits
""",
    )
    assert unrequested == [None, None]
    np.testing.assert_array_equal(again, first)


def test_a_model_without_extra_heads(pyodide_page: PyodidePage) -> None:
    step = run_in_page(
        pyodide_page,
        "result, = await run(backend, [None])",
        replace(golden().lm_weights, extra_heads=()),
        config=replace(golden().lm_config, n_extra_heads=0),
    )
    assert (step.token, step.extra_heads) == (official_tokens()[0], None)


def test_streams_are_independent(pyodide_page: PyodidePage) -> None:
    assert run_in_page(pyodide_page, STREAMS) == [official_tokens()] * 3


def test_a_stream_continues_on_simd_after_the_gpu_is_lost(pyodide_page: PyodidePage) -> None:
    """In the middle of a recording with steps pending; the tokens do not change."""
    names, tokens = run_in_page(
        pyodide_page,
        """
from tympan.errors import NoWebGPU
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.webgpu.backend import WebGPUBackend

devices = []

async def on_webgpu():
    if devices:
        raise NoWebGPU("it has no adapter")
    gpu = await WebGPUBackend.create(config, weights)
    devices.append(gpu.device)
    return gpu

async def on_simd():
    return backend

lm = await RecoveringBackend.open([on_webgpu, on_simd])
names, state, tokens, started = [lm.name], lm.new_state(), [], []
for n, frame in enumerate(frames):
    started.append(lm.step(state, frame))
    if n == 20:
        devices[0].handle.destroy()
    if len(started) == 4:
        tokens.append((await started.pop(0)).token)
tokens += [(await step).token for step in started]
result = [*names, lm.name], tokens
""",
    )
    assert names == ["webgpu", "simd"]
    assert tokens == official_tokens()


@cache
def demo_files() -> ModelFiles:
    return run(read_model(Folder(ROOT / "static" / "models" / "demo")))


def demo_lm() -> LMWeights:
    """The demo model as shipped, read into memory."""
    stored = demo_files().lm
    return LMWeights.from_tensors(demo_files().manifest.lm_config, {name: np.array(stored[name]) for name in stored})


def demo_codes(path: Path) -> Int32:
    """The codes of a recording followed by a second of silence: (T, K)."""
    with wave.open(str(path)) as file:
        samples = (np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768).astype(np.float32)
        resampler = Resampler(file.getframerate(), SAMPLE_RATE_HZ)
    pcm = np.concatenate([resampler(samples), resampler.flush(), np.zeros(SAMPLE_RATE_HZ, np.float32)])
    config = demo_files().manifest.mimi_config
    mimi = Mimi(config, MimiWeights.from_tensors(config, demo_files().mimi))
    n_frames = len(pcm) // FRAME_SAMPLES
    return mimi.encode(mimi.new_state(), pcm[: n_frames * FRAME_SAMPLES].reshape(n_frames, FRAME_SAMPLES))


@pytest.mark.parametrize("level", ["relaxed", "simd"])
def test_the_demo_model_gives_the_same_words_as_numpy(pyodide_page: PyodidePage, level: str) -> None:
    config, weights = demo_files().manifest.lm_config, demo_lm()
    clip = [None, *demo_codes(ROOT / "tests" / "golden" / "speech.wav")]
    reference = Reference(config, weights)
    state = reference.new_state()
    wanted = [reference.step(state, frame).step.token for frame in clip]

    source = "result = [step.token for step in await run(backend, frames)]"
    tokens = run_in_page(pyodide_page, source, weights, level, config=config, frames=clip)

    assert np.mean(np.equal(tokens, wanted)) >= EQUAL_TOKENS
    tokenizer = Tokenizer.from_bytes(demo_files().tokenizer)
    assert tokenizer.decode(tokens) == tokenizer.decode(wanted)
    assert "meeting" in tokenizer.decode(tokens)
