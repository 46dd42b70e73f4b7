"""Random Q4 matrices."""

from __future__ import annotations

import numpy as np

from tympan.weights.q4 import BLOCK, Q4Matrix


def random_q4(rng: np.random.Generator, n: int, k: int) -> Q4Matrix:
    """Blocks of all nibbles and scales of both signs; the last block of a row is padded as a real one is."""
    n_blocks = -(-k // BLOCK)
    nibbles = rng.integers(0, 16, (n, n_blocks * BLOCK), np.uint8)
    nibbles[:, k:] = 8  # zero
    nibbles = nibbles.reshape(n, n_blocks, 2, BLOCK // 2)
    scale = rng.normal(0, 0.1, (n, n_blocks)).astype(np.float16)
    return Q4Matrix(nibbles[:, :, 0] | nibbles[:, :, 1] << 4, scale, k)
