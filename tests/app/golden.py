"""The random checkpoint in tests/golden/a and the official implementation's outputs for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES, LMConfig, MimiConfig
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.linear import Precision

GOLDEN = Path(__file__).parents[1] / "golden" / "a"


@dataclass(frozen=True)
class Golden:
    mimi: Mimi
    lm_config: LMConfig
    lm_weights: LMWeights
    expected: dict[str, NDArray[Any]]  # described in meta.json

    @property
    def pcm(self) -> Float32:
        return self.expected["pcm"].astype(np.float32)

    @property
    def frames(self) -> Float32:
        return np.pad(self.pcm, (0, -len(self.pcm) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)


def golden_mimi_files() -> tuple[MimiConfig, dict[str, NDArray[Any]]]:
    """The config and the tensors of the encoder."""
    n_codebooks = json.loads((GOLDEN / "config.json").read_text())["n_q"]
    config = MimiConfig.from_json(json.loads((GOLDEN / "mimi_config.json").read_text()), n_codebooks)
    return config, load_file(GOLDEN / "mimi.safetensors")


def golden_mimi(precision: Precision) -> Mimi:
    config, tensors = golden_mimi_files()
    return Mimi(config, MimiWeights.from_tensors(config, tensors, precision))


@cache
def golden() -> Golden:
    lm_config = LMConfig.from_json(json.loads((GOLDEN / "config.json").read_text()))
    return Golden(
        mimi=golden_mimi(Precision.FLOAT32),
        lm_config=lm_config,
        lm_weights=LMWeights.from_tensors(lm_config, load_file(GOLDEN / "model.safetensors")),
        expected=dict(np.load(GOLDEN / "expected.npz")),
    )
