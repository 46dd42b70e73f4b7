"""The resampler on sines: those in the passband are kept, those above it are removed."""

from __future__ import annotations

import numpy as np
import pytest

from tympan.arrays import Float32
from tympan.resample import Resampler

TO_HZ = 24_000
RATES_HZ = [8_000, 16_000, 22_050, 44_100, 48_000, 96_000]


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> Float32:
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(rate_hz * seconds)) / rate_hz).astype(np.float32)


def resample(x: Float32, from_hz: int, n_chunks: int = 1) -> Float32:
    resampler = Resampler(from_hz, TO_HZ)
    return np.concatenate([*map(resampler, np.array_split(x, n_chunks)), resampler.flush()])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_sine_in_the_passband_is_kept_in_phase(rate_hz: int) -> None:
    y = resample(sine(1000, rate_hz), rate_hz)
    n = min(len(y), TO_HZ)
    assert abs(n - TO_HZ) <= 1
    np.testing.assert_allclose(y[400 : n - 400], sine(1000, TO_HZ)[400 : n - 400], atol=2e-5)


@pytest.mark.parametrize("rate_hz", [rate_hz for rate_hz in RATES_HZ if rate_hz > TO_HZ])
def test_a_sine_above_the_output_band_is_removed(rate_hz: int) -> None:
    y = resample(sine(13_000, rate_hz), rate_hz)
    assert np.abs(y[500:-500]).max() < 1e-4  # -80 dB; linear interpolation leaves an alias of -10 dB


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_output_does_not_depend_on_the_chunk_size(rate_hz: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, rate_hz // 2).astype(np.float32)
    np.testing.assert_array_equal(resample(x, rate_hz), resample(x, rate_hz, n_chunks=171))
