"""Random transformers of any size, equal in the page and outside of it; each matrix is generated when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import LMConfig
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.weights.blocks import BLOCK
from tympan.weights.q4 import LazyQ4Matrix

SEED = 17
NIBBLE_DEVIATION = 4.6  # standard deviation of 0 .. 15, uniformly distributed
EMBEDDING_DEVIATION = 0.2  # of each table; dozens are summed


def random_lm(config: LMConfig, hidden: int) -> LMWeights:
    """Weights that preserve the magnitude of the activations, so that every layer affects the logits.

    hidden: h. A matrix is not kept in memory: every read generates it again, with its name as the seed.
    """
    d = config.transformer.d
    return LMWeights(
        embeddings=tuple(_table(f"emb.{k}", config.card + 1, d) for k in range(config.n_codebooks)),
        text_embedding=_table("text_emb", config.text_card + 1, d),
        layers=tuple(
            LayerWeights(
                norm1=_scales(f"{i}.norm1", d),
                in_proj=_matrix(f"{i}.in_proj", 3 * d, d),
                out_proj=_matrix(f"{i}.out_proj", d, d),
                norm2=_scales(f"{i}.norm2", d),
                linear_in=_matrix(f"{i}.linear_in", 2 * hidden, d),
                linear_out=_matrix(f"{i}.linear_out", d, hidden),
            )
            for i in range(config.transformer.n_layers)
        ),
        out_norm=_scales("out_norm", d),
        text_linear=_matrix("text_linear", config.text_card, d),
        extra_heads=tuple(
            _rng(f"head.{i}").standard_normal((config.extra_head_width, d), np.float32) / np.float32(np.sqrt(d))
            for i in range(config.n_extra_heads)
        ),
    )


def hidden_width(config_json: Mapping[str, Any]) -> int:
    """h of an official config. Source: kyutai-labs/moshi@e6a55d2 moshi/modules/gating.py."""
    d, wide = int(config_json["dim"]), int(config_json["hidden_scale"] * config_json["dim"])
    return 21 * d // 8 if wide == 4 * d else 2 * wide // 3


def random_codes(config: LMConfig, n_frames: int) -> Int32:
    """Codes of frames: int32 (n_frames, K)."""
    return _rng("codes").integers(0, config.card, (n_frames, config.n_codebooks)).astype(np.int32)


def _matrix(name: str, n: int, k: int, deviation: float = 1.0) -> LazyQ4Matrix:
    """deviation: of the dot product of a row and an input whose elements have deviation 1."""
    scale = deviation / (NIBBLE_DEVIATION * np.sqrt(k))
    return LazyQ4Matrix(n, k, partial(_part, name, (n, -(-k // BLOCK)), scale))


def _table(name: str, n: int, d: int) -> LazyQ4Matrix:
    return _matrix(name, n, d, EMBEDDING_DEVIATION * np.sqrt(d))


def _part(name: str, shape: tuple[int, int], scale: float, part: str) -> NDArray[Any]:
    rng = _rng(f"{name}.{part}")
    if part == "q4":
        return np.frombuffer(rng.bytes(shape[0] * shape[1] * BLOCK // 2), np.uint8).reshape(*shape, BLOCK // 2)
    random = np.frombuffer(rng.bytes(shape[0] * shape[1]), np.int8).reshape(shape)
    return (np.where(random < 0, -scale, scale) * (0.5 + np.abs(random.astype(np.float32)) / 128)).astype(np.float16)


def _scales(name: str, d: int) -> Float32:
    return 1 + np.float32(0.2) * _rng(name).standard_normal(d, np.float32)


def _rng(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([SEED, crc32(name.encode())]))
