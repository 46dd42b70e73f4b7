"""The causal streaming convolution. Arrays are channels-last, so a window of samples is one row of a matrix.

Source: kyutai-labs/moshi@e6a55d2 moshi/modules/conv.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tympan.arrays import Float32
from tympan.mimi.kernels import Activation
from tympan.mimi.linear import Linear
from tympan.weights.tensors import Tensors


@dataclass(frozen=True)
class ConvWeights:
    """Weights of a causal convolution."""

    kernel: Linear  # (C_out, kernel_size * C_in), bias (C_out,): taps in time order, the channels of each tap adjacent
    n_channels: int  # C_in
    stride: int
    replicate: bool = False  # padding before the first sample: copies of that sample, or zeros

    @property
    def n_history(self) -> int:
        """The number of samples that the first output reads before its own window."""
        return self.kernel.shape[1] // self.n_channels - self.stride

    @classmethod
    def from_tensors(
        cls, tensors: Tensors, name: str, c_out: int, c_in: int, kernel_size: int, stride: int = 1, *, bias: bool = True
    ) -> ConvWeights:
        """Read `name.weight` (C_out, C_in, kernel_size) and `name.bias` (C_out,). Raises BadModel."""
        weight = tensors.dense(f"{name}.weight", c_out, c_in, kernel_size)
        return cls(
            kernel=Linear(
                weight.transpose(0, 2, 1).reshape(c_out, kernel_size * c_in),
                tensors.dense(f"{name}.bias", c_out) if bias else None,
            ),
            n_channels=c_in,
            stride=stride,
            replicate=not bias,
        )


@dataclass
class ConvState:
    """The inputs that a convolution needs again for its next outputs."""

    history: Float32 | None = None  # (n_history, C_in), the newest inputs; None before the first call


def conv(
    weights: ConvWeights,
    state: ConvState,
    x: Float32,
    residual: Float32 | None = None,
    activation: Activation = Activation.NONE,
) -> Float32:
    """Convolve the next samples: x float32 (L, C_in), L a multiple of the stride -> float32 (L / stride, C_out).

    residual: float32 (L / stride, C_out), added before the activation. To convolve a whole clip, pass all of it with a
    fresh state: there is no padding on the right.
    """
    assert x.ndim == 2 and x.shape[1] == weights.n_channels and len(x) % weights.stride == 0, (x.shape, weights.stride)
    samples = _after_history(weights, state, x) if weights.n_history else x
    return weights.kernel(_windows(samples, weights), residual, activation)


def _after_history(weights: ConvWeights, state: ConvState, x: Float32) -> Float32:
    """Prepend the history to x (L, C_in): (n_history + L, C_in). Stores the newest samples as the next history."""
    if state.history is None:
        first = x[:1] if weights.replicate else np.zeros_like(x[:1])
        state.history = np.repeat(first, weights.n_history, axis=0)
    samples = np.concatenate([state.history, x])
    state.history = samples[len(x) :].copy()
    return samples


def _windows(samples: Float32, weights: ConvWeights) -> Float32:
    """Return the input windows of the outputs as overlapping rows: (n, C_in) -> (L / stride, kernel_size * C_in)."""
    step = weights.stride * weights.n_channels
    n_windows = (samples.size - weights.kernel.shape[1]) // step + 1
    return np.ndarray((n_windows, weights.kernel.shape[1]), np.float32, samples, strides=(4 * step, 4))
