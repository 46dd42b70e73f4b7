"""Whole encoders at every SIMD level: the level changes no code, and extreme input breaks none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.app.golden import GOLDEN, golden, golden_mimi_files
from tests.conftest import PyodidePage
from tympan.arrays import Int32

LATENT_TOLERANCE = 5e-5

OPEN = """
import json
import numpy as np
from tympan.config import MimiConfig
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.linear import Precision
from tympan.wasm import module

assert module.use(level) == level
config = MimiConfig.from_json(json.loads(config), n_codebooks)
mimi = Mimi(config, MimiWeights.from_tensors(config, tensors, Precision(precision)))
"""

STREAM = """
state, codes = mimi.new_state(), []
for start in range(0, len(frames), n_together):
    codes.append(mimi.encode(state, frames[start : start + n_together]))
np.concatenate(codes)
"""


def run(page: PyodidePage, source: str, level: str = "relaxed", precision: str = "float32", **values: Any) -> Any:
    """Run Python in the page with `mimi`, the golden encoder, at a level and a precision."""
    config, tensors = golden_mimi_files()
    names = {"config": (GOLDEN / "mimi_config.json").read_text(), "n_codebooks": config.n_codebooks}
    try:
        return page.run(OPEN + source, level=level, precision=precision, tensors=tensors, **names, **values)
    finally:
        page.run("from tympan.wasm import module; module.use()")


def stream(page: PyodidePage, frames: NDArray[np.float32], n_together: int = 1, **options: str) -> Int32:
    codes: Int32 = run(page, STREAM, frames=frames, n_together=n_together, **options)
    return codes


@pytest.mark.parametrize("level", ["relaxed", "simd"])
def test_float32_matches_the_official_codes_and_latents(pyodide_page: PyodidePage, level: str) -> None:
    expected = golden().expected
    np.testing.assert_array_equal(stream(pyodide_page, golden().frames, level=level), expected["mimi_codes_stream"].T)
    source = "state = mimi.new_state()\nnp.concatenate([mimi.stream_latent(state, frame[None]) for frame in frames])"
    latents = run(pyodide_page, source, level=level, frames=golden().frames)
    np.testing.assert_allclose(latents.T, expected["mimi_latent_stream"], atol=LATENT_TOLERANCE, rtol=0)


@pytest.mark.parametrize("level", ["relaxed", "simd"])
def test_a_whole_clip_matches_the_official_codes(pyodide_page: PyodidePage, level: str) -> None:
    codes = run(pyodide_page, "mimi(pcm)", level=level, pcm=golden().pcm)
    np.testing.assert_array_equal(codes, golden().expected["mimi_codes_batch"].T)


def test_int16_weights_change_almost_no_code(pyodide_page: PyodidePage) -> None:
    """The default precision may flip a near-tie: at most 1 code of 1000, and none in the first codebook."""
    official = golden().expected["mimi_codes_stream"].T
    for level in ("relaxed", "simd", "numpy"):
        codes = stream(pyodide_page, golden().frames, level=level, precision="int16")
        assert (codes == official).mean() >= 0.999, level
        np.testing.assert_array_equal(codes[:, 0], official[:, 0], level)


@pytest.mark.parametrize("n_together", [2, 3, 8, 75])
def test_encoding_several_frames_in_a_call_changes_no_code(pyodide_page: PyodidePage, n_together: int) -> None:
    """Also after the transformer's KV cache, which holds 20 frames here, has wrapped."""
    single = stream(pyodide_page, golden().frames)
    np.testing.assert_array_equal(stream(pyodide_page, golden().frames, n_together), single)


LONG = """
import pyodide_js

rng = np.random.default_rng(0)
signals = {
    "noise": lambda n: rng.uniform(-1, 1, n), "silence": np.zeros, "dc": np.ones,
    "clipped": lambda n: np.sign(rng.standard_normal(n)),
}
seconds = [signals[name](n_frames * 1920).astype(np.float32).reshape(n_frames, 1920) for name in signals]
state, codes, heap_bytes = mimi.new_state(), [], []
for i in range(n_rounds):
    codes.append(mimi.encode(state, seconds[i % len(seconds)][: 1 + i % 7]))
    latents = mimi.stream_latent(state, seconds[i % len(seconds)][:8])
    assert np.isfinite(latents).all()
    codes.append(mimi.weights.quantizer.encode(latents))
    heap_bytes.append(pyodide_js._module.HEAPU8.length)
np.concatenate(codes), heap_bytes[len(heap_bytes) // 10], heap_bytes[-1]
"""


def test_ten_thousand_frames_of_extreme_audio(pyodide_page: PyodidePage) -> None:
    """13 minutes: finite latents, valid codes, reproducible, and no memory growth after the first minute."""
    codes, early_bytes, late_bytes = run(pyodide_page, LONG, precision="int16", n_frames=8, n_rounds=840)
    assert len(codes) == 10_080
    assert codes.min() >= 0
    assert codes.max() < golden().mimi.config.n_bins
    assert late_bytes == early_bytes
    again, *_ = run(pyodide_page, LONG, precision="int16", n_frames=8, n_rounds=840)
    np.testing.assert_array_equal(again, codes)


def test_an_unsupported_level_falls_back_to_the_next(pyodide_page: PyodidePage) -> None:
    """CPython can load none of the modules, so numpy is used."""
    from tympan.errors import BadOption
    from tympan.wasm import module

    assert module.use("relaxed") == "numpy"
    assert module.use() == "numpy"
    with pytest.raises(BadOption, match="auto, relaxed, simd, numpy"):
        module.use("sse2")
    assert pyodide_page.run("from tympan.wasm import module; module.use()") == "relaxed"
