"""Mimi on WebGPU against the official outputs and against numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.app.golden import golden, golden_mimi_files
from tests.conftest import PyodidePage
from tympan.arrays import Float32, Int32
from tympan.mimi.encoder import POSITIONS_PER_FRAME
from tympan.mimi.webgpu.encoder import MAX_FRAMES
from tympan.mimi.webgpu.kernels import NEVER, Search, Tile, Tuning

LATENT_TOLERANCE = 5e-5

STREAM = """
import numpy as np
from tympan.mimi.webgpu.encoder import MimiGpu
from tympan.mimi.webgpu.selfcheck import read_latents

encoder = await MimiGpu.create(config, tensors, tuning=tuning)

async def stream(frames, n_together):
    state, codes, latents = encoder.new_state(), [], []
    for start in range(0, len(frames), n_together):
        some = frames[start : start + n_together]
        codes.append(await encoder.start(state, some))
        latents.append(await read_latents(encoder, len(some)))
    return np.concatenate(codes), np.concatenate(latents)
"""

# Small workgroups, which software GPUs compile fast: tests/shaders runs every kernel with large ones too. In the last
# one, some products are always in tiles, some never, and some only in larger calls, with the kernels of the others.
SMALL = Tuning(Tile(4, 4, 2), n_lane_loads=16, n_row_invocations=8, attention=32, search=Search(32, 4, 3))
TUNINGS = {
    "tiles": replace(SMALL, n_tiles=0),
    "lanes": replace(SMALL, n_tiles=NEVER),
    "tiles by size": replace(SMALL, n_tiles=30),
}


def run_in_page(page: PyodidePage, source: str, tuning: Tuning | None = None, **values: Any) -> Any:
    """Run Python with an open `encoder`; it must assign `result`."""
    config, tensors = golden_mimi_files()
    values = {"frames": golden().frames, "config": config, "tensors": tensors, **values}
    return page.run(f"{STREAM}\n{source}\nencoder.close()\nresult", tuning=tuning, **values)


def assert_official(codes: Int32, latents: Float32) -> None:
    """Compare the first frames of a stream with the official outputs."""
    n = len(codes)
    np.testing.assert_allclose(latents.T, golden().expected["mimi_latent_stream"][:, :n], atol=LATENT_TOLERANCE, rtol=0)
    np.testing.assert_array_equal(codes.T, golden().expected["mimi_codes_stream"][:, :n])


@pytest.mark.parametrize("n_together", [1, 7, 32])
def test_streamed_latents_and_codes_match_the_official_ones(gpu_page: PyodidePage, n_together: int) -> None:
    source = "result = await stream(frames, n_together)"
    codes, latents = run_in_page(gpu_page, source, n_together=n_together)

    n_slots = golden().mimi.config.transformer.context + POSITIONS_PER_FRAME * MAX_FRAMES
    assert POSITIONS_PER_FRAME * len(codes) > n_slots, "the slots of the KV cache are used again"
    assert_official(codes, latents)


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
def test_every_tuning_matches_the_official_outputs(gpu_page: PyodidePage, tuning: Tuning) -> None:
    source = "result = [await stream(frames[:n_frames], n_together) for n_frames, n_together in ((2, 1), (24, 12))]"
    for codes, latents in run_in_page(gpu_page, source, tuning):
        assert_official(codes, latents)
