"""An official checkpoint directory: config.json, the transformer's weights, Mimi's weights, the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel
from tympan.weights.file import InMemory
from tympan.weights.safetensors import SafetensorsFile, Tensor

# Names and numbers where config.json is silent. Source: kyutai-labs/moshi@e6a55d2 moshi/moshi/models/loaders.py.
MOSHI_NAME = "model.safetensors"
MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER_NAME = "tokenizer_spm_32k_3.model"
_MIMI_CONFIG = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1, "dimension": 512, "causal": True, "n_filters": 64, "n_residual_layers": 1, "activation": "ELU",
        "compress": 2, "dilation_base": 2, "disable_norm_outer_blocks": 0, "kernel_size": 7, "residual_kernel_size": 3,
        "last_kernel_size": 3, "norm": "none", "pad_mode": "constant", "ratios": [8, 6, 5, 4], "true_skip": True,
    },
    "quantizer": {"dimension": 256, "n_q": 32, "bins": 2048, "input_dimension": 512, "output_dimension": 512},
    "transformer": {
        "d_model": 512, "num_heads": 8, "num_layers": 8, "causal": True, "layer_scale": 0.01, "context": 250,
        "conv_layout": True, "max_period": 10000, "gating": "none", "norm": "layer_norm",
        "positional_embedding": "rope", "dim_feedforward": 2048, "input_dimension": 512, "output_dimensions": [512],
    },
}  # fmt: skip


class TensorsOnDisk(Mapping[str, Tensor]):
    """The tensors of one or more safetensors files, each read when it is asked for and forgotten with its array."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises BadModel when a file cannot be read or two hold a tensor of one name."""
        self._paths: dict[str, Path] = {}
        for path in paths:
            for name in _map(path):
                if name in self._paths:
                    raise BadModel(f"the tensor {name} is in {path.name} and in {self._paths[name].name}")
                self._paths[name] = path

    def __getitem__(self, name: str) -> Tensor:
        # A new mapping for every tensor: one for all would keep the whole checkpoint resident.
        return _map(self._paths[name])[name]

    def stand_ins(self) -> dict[str, Tensor]:
        """Zeros in float32 of every tensor's shape. They take no memory: nobody writes to their pages."""
        files = {path: _map(path) for path in set(self._paths.values())}
        return {name: np.zeros(files[path].shape(name), np.float32) for name, path in self._paths.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint; no tensor is in memory yet."""

    config_json: dict[str, Any]
    mimi_config_json: dict[str, Any]
    lm: TensorsOnDisk
    mimi: TensorsOnDisk
    tokenizer: bytes

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Open a checkpoint directory, its transformer in one file or in shards with an index.

        Raises BadModel when a file that `config.json` names is missing or is not what it should be.
        """
        config = read_json(folder, "config.json")
        mimi_config_name = config.get("mimi_config_name")
        return cls(
            config_json=config,
            mimi_config_json=read_json(folder, mimi_config_name) if mimi_config_name else _MIMI_CONFIG,
            lm=TensorsOnDisk(_lm_paths(folder, config.get("moshi_name", MOSHI_NAME))),
            mimi=TensorsOnDisk([_path(folder, config.get("mimi_name", MIMI_NAME))]),
            tokenizer=_path(folder, config.get("tokenizer_name", TOKENIZER_NAME)).read_bytes(),
        )

    @property
    def lm_config(self) -> LMConfig:
        return LMConfig.from_json(self.config_json)

    @property
    def mimi_config(self) -> MimiConfig:
        return MimiConfig.from_json(self.mimi_config_json, self.lm_config.n_codebooks)


def _lm_paths(folder: Path, name: str) -> list[Path]:
    """The one file `name`, or the shards that the index beside it lists."""
    index = index_of(name)
    if (folder / name).exists() or not (folder / index).exists():
        return [_path(folder, name)]
    return [_path(folder, shard) for shard in shards_of(folder, index)]


def index_of(name: str) -> str:
    """What the index of a file is called that was published in shards."""
    return f"{name}.index.json"


def shards_of(folder: Path, index: str) -> list[str]:
    """The names of the shards that an index lists. Raises BadModel when it lists none."""
    weight_map = read_json(folder, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadModel(f"{index} has no weight_map")
    return sorted({str(shard) for shard in weight_map.values()})


def _path(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or not (folder / name).is_file():
        raise BadModel(f"there is no file {name!r} in {folder}")
    return folder / name


def read_json(folder: Path, name: Any) -> dict[str, Any]:
    """One of a checkpoint's files of JSON. Raises BadModel when it is missing or holds no object."""
    path = _path(folder, name)
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadModel(f"{path.name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} is not a JSON object")
    return value


def _map(path: Path) -> SafetensorsFile:
    try:
        return SafetensorsFile(InMemory.mapped(path), path.name)
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read ({error})") from error
