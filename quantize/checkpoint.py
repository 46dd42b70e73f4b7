"""Reads an official checkpoint directory: config.json, transformer and Mimi weights, tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tympan.checkpoint.official import CONFIG_NAME, MIMI_CONFIG, FileNames
from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel
from tympan.weights.file import InMemory
from tympan.weights.safetensors import SafetensorsFile, Tensor


class TensorsOnDisk(Mapping[str, Tensor]):
    """The tensors of one or more safetensors files, each read on access and freed with its array."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raise BadModel if a file cannot be read, or two files contain the same tensor."""
        self._paths: dict[str, Path] = {}
        self._files: dict[Path, SafetensorsFile] = {}  # for their headers only
        for path in paths:
            self._files[path] = _map(path)
            for name in self._files[path]:
                if name in self._paths:
                    raise BadModel(f"the tensor {name} is in {path.name} and in {self._paths[name].name}")
                self._paths[name] = path

    def __getitem__(self, name: str) -> Tensor:
        # Each tensor gets its own mmap: a shared one would keep the whole checkpoint resident.
        return _map(self._paths[name])[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._files[self._paths[name]].shape(name)

    def dtype(self, name: str) -> str:
        return self._files[self._paths[name]].dtype(name)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint. Tensors are read on access."""

    config_json: dict[str, Any]
    mimi_config_json: dict[str, Any]
    lm: TensorsOnDisk
    mimi: TensorsOnDisk
    tokenizer: bytes

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Open a checkpoint directory. The transformer is one file, or shards with an index.

        Raises BadModel if a file that `config.json` names is missing or invalid.
        """
        config = read_json(folder, CONFIG_NAME)
        names = FileNames.of(config)
        return cls(
            config_json=config,
            mimi_config_json=read_json(folder, names.mimi_config) if names.mimi_config else MIMI_CONFIG,
            lm=TensorsOnDisk(_lm_paths(folder, names.lm)),
            mimi=TensorsOnDisk([_path(folder, names.mimi)]),
            tokenizer=_path(folder, names.tokenizer).read_bytes(),
        )

    @property
    def lm_config(self) -> LMConfig:
        return LMConfig.from_json(self.config_json)

    @property
    def mimi_config(self) -> MimiConfig:
        return MimiConfig.from_json(self.mimi_config_json, self.lm_config.n_codebooks)


def _lm_paths(folder: Path, name: str) -> list[Path]:
    """The file `name`, or the shards listed in its index."""
    index = index_of(name)
    if (folder / name).exists() or not (folder / index).exists():
        return [_path(folder, name)]
    return [_path(folder, shard) for shard in shards_of(folder, index)]


def index_of(name: str) -> str:
    """Name of the index of a file that is published in shards."""
    return f"{name}.index.json"


def shards_of(folder: Path, index: str) -> list[str]:
    """Names of the shards listed in an index. Raises BadModel if there are none."""
    weight_map = read_json(folder, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadModel(f"{index} has no weight_map")
    return sorted({str(shard) for shard in weight_map.values()})


def _path(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or not (folder / name).is_file():
        raise BadModel(f"there is no file {name!r} in {folder}")
    return folder / name


def read_json(folder: Path, name: Any) -> dict[str, Any]:
    """Read a JSON file of a checkpoint. Raises BadModel if it is missing or not an object."""
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
