"""The random checkpoint under tests/golden/a and what the official implementation says of it."""

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


@cache
def golden() -> Golden:
    lm_config = LMConfig.from_json(json.loads((GOLDEN / "config.json").read_text()))
    mimi_json = json.loads((GOLDEN / "mimi_config.json").read_text())
    mimi_config = MimiConfig.from_json(mimi_json, lm_config.n_codebooks)
    return Golden(
        mimi=Mimi(mimi_config, MimiWeights.from_tensors(mimi_config, load_file(GOLDEN / "mimi.safetensors"))),
        lm_config=lm_config,
        lm_weights=LMWeights.from_tensors(lm_config, load_file(GOLDEN / "model.safetensors")),
        expected=dict(np.load(GOLDEN / "expected.npz")),
    )
