"""The encoder against the official outputs, and the properties of its definition."""

from __future__ import annotations

import json
from dataclasses import replace
from math import erf as exact_erf

import numpy as np
import pytest

from tests.app.golden import GOLDEN, golden
from tympan.arrays import Float32, Int32
from tympan.config import FRAME_SAMPLES
from tympan.errors import BadModel
from tympan.mimi.conv import ConvState, ConvWeights, conv
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.erf import erf
from tympan.mimi.linear import Linear
from tympan.mimi.transformer import TransformerState, transformer, transformer_step

LATENT_TOLERANCE = 5e-5


def stream(mimi: Mimi, frames: Float32) -> Int32:
    state = mimi.new_state()
    return np.stack([mimi.step(state, frame) for frame in frames])


def test_streamed_latents_and_codes_match_the_official_ones() -> None:
    state = golden().mimi.new_state()
    latents = np.concatenate([golden().mimi.stream_latent(state, frame[None]) for frame in golden().frames])
    np.testing.assert_allclose(latents.T, golden().expected["mimi_latent_stream"], atol=LATENT_TOLERANCE, rtol=0)
    np.testing.assert_array_equal(stream(golden().mimi, golden().frames).T, golden().expected["mimi_codes_stream"])


def test_whole_clip_latents_and_codes_match_the_official_ones() -> None:
    latents = golden().mimi.latent(golden().pcm)
    np.testing.assert_allclose(latents.T, golden().expected["mimi_latent_batch"], atol=LATENT_TOLERANCE, rtol=0)
    np.testing.assert_array_equal(golden().mimi(golden().pcm).T, golden().expected["mimi_codes_batch"])


def test_silence_at_the_end_of_a_stream_gives_the_official_codes() -> None:
    official = golden().expected["stream_codes"].T
    silence = np.zeros((len(official) - len(golden().frames), FRAME_SAMPLES), np.float32)
    codes = stream(golden().mimi, np.concatenate([golden().frames, silence]))
    np.testing.assert_array_equal(codes, official)
    assert (codes[-len(silence) :] != codes[-1]).any(), "silence does not give a constant code"


def test_a_full_kv_cache_makes_the_stream_differ_from_the_whole_clip() -> None:
    n_full = golden().mimi.config.transformer.context // 2
    streamed, whole = stream(golden().mimi, golden().frames), golden().mimi(golden().pcm)
    np.testing.assert_array_equal(streamed[:n_full], whole[:n_full])
    official = json.loads((GOLDEN / "meta.json").read_text())["mimi"]["batch_vs_stream_code_mismatches"]
    assert (streamed != whole).sum() == official > 0


def test_the_first_query_of_a_frame_with_a_full_kv_cache_has_lost_its_oldest_key() -> None:
    """A stream is a whole clip in which key j reaches query p iff max(p - S, e - S) < j <= p; e ends the frame of p."""
    config, layers = replace(golden().mimi.config.transformer, n_layers=1), golden().mimi.weights.layers[:1]
    x = np.random.default_rng(0).standard_normal((2 * config.context, config.d), dtype=np.float32)
    state = TransformerState.new(config)
    streamed = np.concatenate([transformer_step(config, layers, state, x[i : i + 2]) for i in range(0, len(x), 2)])
    whole = transformer(config, layers, x)
    last_of_frame = np.arange(len(x)) % 2 == 1  # sees all S keys in both forms
    np.testing.assert_allclose(streamed[last_of_frame], whole[last_of_frame], atol=1e-5)
    assert np.abs(streamed - whole)[~last_of_frame & (np.arange(len(x)) >= config.context)].max() > 1e-4


def test_future_input_never_changes_past_output() -> None:
    mimi, frames = golden().mimi, golden().frames[:40].copy()
    before, n_past = stream(mimi, frames), 25
    frames[n_past:] = np.random.default_rng(1).uniform(-1, 1, frames[n_past:].shape).astype(np.float32)
    after = stream(mimi, frames)
    np.testing.assert_array_equal(before[:n_past], after[:n_past])
    assert (before[n_past:] != after[n_past:]).any()


@pytest.mark.parametrize("signal", ["silence", "clipped", "dc", "noise"])
def test_extreme_input_gives_valid_codes(signal: str) -> None:
    rng = np.random.default_rng(2)
    frames = {
        "silence": np.zeros((50, FRAME_SAMPLES)),
        "clipped": np.sign(rng.standard_normal((50, FRAME_SAMPLES))),
        "dc": np.ones((50, FRAME_SAMPLES)),
        "noise": rng.uniform(-1, 1, (50, FRAME_SAMPLES)),
    }[signal].astype(np.float32)
    codes = stream(golden().mimi, frames)
    assert codes.min() >= 0
    assert codes.max() < golden().mimi.config.n_bins
    np.testing.assert_array_equal(codes, stream(golden().mimi, frames))


def test_a_streamed_convolution_equals_the_whole_one() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.standard_normal((5, 6 * 3), dtype=np.float32)
    bias = rng.standard_normal(5, dtype=np.float32)
    weights = ConvWeights(Linear(kernel, bias), n_channels=3, stride=2)
    x = rng.standard_normal((24, 3), dtype=np.float32)
    state = ConvState()
    streamed = np.concatenate([conv(weights, state, part) for part in np.split(x, [2, 8, 10, 22])])
    np.testing.assert_allclose(streamed, conv(weights, ConvState(), x), atol=1e-5)
    padded = np.concatenate([np.zeros((4, 3), np.float32), x])
    plain = [(padded[t : t + 6].reshape(-1) @ kernel.T + bias) for t in range(0, 24, 2)]
    np.testing.assert_allclose(streamed, plain, atol=1e-5)


def test_only_the_downsampling_pads_with_its_first_input() -> None:
    weights = golden().mimi.weights
    assert weights.downsample.replicate
    assert not weights.seanet.first.replicate
    x = np.random.default_rng(4).standard_normal((2, golden().mimi.config.transformer.d), dtype=np.float32)
    first = conv(weights.downsample, ConvState(), x)
    repeated = weights.downsample.kernel(np.concatenate([x[0], x[0], x[0], x[1]])[None])
    np.testing.assert_allclose(first, repeated, atol=1e-5)


def test_erf_is_accurate_to_float32() -> None:
    x = np.linspace(-6, 6, 20_001, dtype=np.float32)
    np.testing.assert_allclose(erf(x), [exact_erf(value) for value in x], atol=3e-7)


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    config = golden().mimi.config
    with pytest.raises(BadModel, match="official names"):
        MimiWeights.from_tensors(config, {})
    linear1 = np.zeros((256, config.transformer.d), np.float32)
    with pytest.raises(BadModel, match=r"encoder\.model\.0\.conv\.conv\.weight is missing"):
        MimiWeights.from_tensors(config, {"encoder_transformer.transformer.layers.0.linear1.weight": linear1})
