"""`model.json`, the manifest of a model directory.

    {"format": "tympan/1", "name": "demo", "title": ..., "languages": ["en"], "licence": ..., "source": ...,
     "notes": ..., "config": {the official config.json}, "mimi_config": {the official Mimi config},
     "confidence": {"slope": 1.05, "offset": -0.07},  optional, see tympan.confidence
     "files": [{"path": "lm-00001.safetensors", "role": "lm", "bytes": 123, "sha256": ...}, ...]}

Parsing validates every field, so code that receives a `Manifest` does not check it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast, get_args

from tympan.confidence import Calibration
from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel
from tympan.weights.info import ModelInfo

MANIFEST_NAME = "model.json"
FORMAT = "tympan/1"

Role: TypeAlias = Literal["lm", "mimi", "tokenizer"]

# Segments that begin with a letter or a digit: no "..", no absolute path, no character that has a meaning in a URL.
_PATH = re.compile(r"[A-Za-z0-9][\w.@-]*(/[A-Za-z0-9][\w.@-]*)*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model directory. Raises BadModel for an invalid path, role, length or hash."""

    path: str  # relative to the directory, never outside it
    role: Role
    n_bytes: int
    sha256: str  # 64 hexadecimal digits; empty if the Hub publishes no hash. `model.json` must always have one

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise BadModel(f"{MANIFEST_NAME} names the file {self.path!r}, which is not a path inside the model")
        if self.role not in get_args(Role):
            raise BadModel(f"{self.path} has the unknown role {self.role!r}")
        if self.n_bytes < 1 or not (self.sha256 == "" or _SHA256.fullmatch(self.sha256)):
            raise BadModel(f"{MANIFEST_NAME} gives {self.path} an invalid length or sha256")


@dataclass(frozen=True, kw_only=True)
class Manifest(ModelInfo):
    """A model's metadata, its configs and its files."""

    name: str  # its id in a catalogue
    config_json: Mapping[str, Any]  # the official config.json
    mimi_config_json: Mapping[str, Any]  # the official Mimi config
    files: tuple[ModelFile, ...]
    calibration: Calibration | None = None  # of confidences

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise BadModel(f"{MANIFEST_NAME} names a file twice")
        for role in get_args(Role):
            n_files = len(self.files_of(role))
            if n_files < 1 or (role == "tokenizer" and n_files > 1):
                raise BadModel(f"{MANIFEST_NAME} names {n_files} files with the role {role!r}")
        n_bins, card = self.mimi_config.n_bins, self.lm_config.card
        if n_bins != card:
            raise BadModel(f"Mimi has {n_bins} codes per codebook, the transformer expects {card}")

    @classmethod
    def parse(cls, text: bytes | bytearray | memoryview) -> Manifest:
        """Parse the bytes of a `model.json`. Raises BadModel with the first problem found."""
        try:
            value = json.loads(str(text, "utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadModel(f"{MANIFEST_NAME} is not JSON ({error})") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise BadModel(f"{MANIFEST_NAME} does not have the format {FORMAT!r}")
        if not all(file.get("sha256") for file in _list_of(value, "files", dict)):
            raise BadModel(f"{MANIFEST_NAME} has a file without sha256")
        return cls(
            name=_get(value, "name", str),
            title=_get(value, "title", str),
            languages=tuple(_list_of(value, "languages", str)),
            licence=_get(value, "licence", str),
            source=_get(value, "source", str),
            notes=_get(value, "notes", str) if "notes" in value else "",
            config_json=_get(value, "config", dict),
            mimi_config_json=_get(value, "mimi_config", dict),
            files=tuple(
                ModelFile(
                    path=_get(file, "path", str),
                    role=cast(Role, _get(file, "role", str)),
                    n_bytes=_get(file, "bytes", int),
                    sha256=_get(file, "sha256", str),
                )
                for file in _list_of(value, "files", dict)
            ),
            calibration=_calibration(value),
        )

    def serialize(self) -> str:
        """Return the text of a `model.json` that parses to an equal manifest."""
        value = {
            "format": FORMAT,
            "name": self.name,
            **self.to_json(),
            "config": dict(self.config_json),
            "mimi_config": dict(self.mimi_config_json),
            **({"confidence": asdict(self.calibration)} if self.calibration else {}),
            "files": [
                {"path": file.path, "role": file.role, "bytes": file.n_bytes, "sha256": file.sha256}
                for file in self.files
            ],
        }
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    def with_calibration(self, calibration: Calibration) -> Manifest:
        """The same manifest with another calibration of confidences."""
        return replace(self, calibration=calibration)

    @cached_property
    def lm_config(self) -> LMConfig:
        """The transformer's config."""
        return LMConfig.from_json(self.config_json)

    @cached_property
    def mimi_config(self) -> MimiConfig:
        """The Mimi encoder's config, with as many codebooks as the transformer uses."""
        return MimiConfig.from_json(self.mimi_config_json, self.lm_config.n_codebooks)

    @property
    def n_bytes(self) -> int:
        """Total size of the files."""
        return sum(file.n_bytes for file in self.files)

    def files_of(self, role: Role) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if file.role == role)


def _calibration(value: dict[str, Any]) -> Calibration | None:
    """The optional field `confidence`. Raises BadModel."""
    if "confidence" not in value:
        return None
    numbers = _get(value, "confidence", dict)
    slope, offset = (_get(numbers, name, float) for name in ("slope", "offset"))
    if slope <= 0:
        raise BadModel(f"{MANIFEST_NAME} has a slope of confidences that is not positive")
    return Calibration(slope, offset)


def _get(value: dict[str, Any], key: str, kind: type) -> Any:
    if type(value.get(key)) is not kind:
        raise BadModel(f"{MANIFEST_NAME} has no {key!r} that is {_KINDS[kind]}")
    return value[key]


def _list_of(value: dict[str, Any], key: str, kind: type) -> list[Any]:
    items = _get(value, key, list)
    if any(type(item) is not kind for item in items):
        raise BadModel(f"{MANIFEST_NAME} has an item in {key!r} that is not {_KINDS[kind]}")
    return cast(list[Any], items)


_KINDS = {str: "a string", int: "an integer", dict: "an object", list: "a list", float: "a number with a decimal point"}
