"""Noise to measure and check the encoder with, the same in every run."""

from __future__ import annotations

from random import Random

import numpy as np

from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES


def noise(n_frames: int, peak: float) -> Float32:
    """Uniform white noise in [-peak, peak]: float32 (n_frames, 1920)."""
    uniform = Random(0).uniform  # not of numpy.random, whose compiled libraries the engine worker does not load
    samples = [uniform(-peak, peak) for _ in range(n_frames * FRAME_SAMPLES)]
    return np.array(samples, np.float32).reshape(n_frames, FRAME_SAMPLES)
