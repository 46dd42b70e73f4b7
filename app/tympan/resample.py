"""Band-limited resampling of a stream, for audio contexts that cannot run at 24 kHz.

A windowed sinc filter, with one precomputed filter per phase of an output sample between two input samples.
Source: J. O. Smith, Digital Audio Resampling, https://ccrma.stanford.edu/~jos/resample/.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np

from tympan.arrays import Float32

N_ZERO_CROSSINGS = 32  # of the sinc, on each side
PASSBAND = 0.95  # of the lower Nyquist frequency
KAISER_BETA = 9.0  # stopband below -85 dB


class Resampler:
    """Resamples a stream chunk by chunk.

    The output does not depend on the chunk size. It lags the input by half a filter; `flush` returns the rest.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        cutoff = PASSBAND * min(1.0, to_hz / from_hz)  # relative to the input's Nyquist frequency
        self._half_width = ceil(N_ZERO_CROSSINGS / cutoff)
        self._filters = self._filter_bank(cutoff)
        self._samples = np.zeros(self._half_width - 1, np.float32)
        self._next = 0  # position of the next output sample in `_samples`, in units of 1 / up

    def __call__(self, x: Float32) -> Float32:
        """Resample the next input, float32 (n,); return the output that it completes, float32 (m,)."""
        self._samples = np.concatenate([self._samples, x])
        n_taps = 2 * self._half_width
        n_ready = len(self._samples) - n_taps + 1
        if n_ready <= 0:
            return np.zeros(0, np.float32)
        positions = np.arange(self._next, n_ready * self._up, self._down)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, n_taps)[positions // self._up]
        y = np.einsum("nk,nk->n", windows, self._filters[positions % self._up])
        self._next += len(positions) * self._down - n_ready * self._up
        self._samples = self._samples[n_ready:]
        return y

    def flush(self) -> Float32:
        """End the stream; return the remaining output, float32 (m,)."""
        return self(np.zeros(self._half_width, np.float32))

    def _filter_bank(self, cutoff: float) -> Float32:
        """The filter of each phase: float32 (up, 2 * half_width), with unit gain at 0 Hz."""
        phase = np.arange(self._up)[:, None] / self._up
        distance = np.arange(2 * self._half_width) - (self._half_width - 1) - phase  # in input samples
        window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (distance / self._half_width) ** 2))) / np.i0(
            KAISER_BETA
        )
        filters = np.sinc(cutoff * distance) * window
        return (filters / filters.sum(axis=1, keepdims=True)).astype(np.float32)
