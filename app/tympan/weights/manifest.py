"""`model.json`, the table of contents of a model directory.

    {"format": "tympan/1", "name": "demo", "title": ..., "languages": ["en"], "licence": ..., "source": ...,
     "notes": ..., "config": {the official config.json}, "mimi_config": {the official Mimi config},
     "files": [{"path": "lm-00001.safetensors", "role": "lm", "bytes": 123, "sha256": ...}, ...]}

Everything in it is checked here, once; whoever holds a `Manifest` may trust it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast, get_args

from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel

MANIFEST_NAME = "model.json"
FORMAT = "tympan/1"

Role: TypeAlias = Literal["lm", "mimi", "tokenizer"]

# Segments that begin with a letter or a digit: no "..", no absolute path, nothing a URL would read differently.
_PATH = re.compile(r"[A-Za-z0-9][\w.@-]*(/[A-Za-z0-9][\w.@-]*)*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model directory."""

    path: str  # relative to the directory, never outside of it
    role: Role
    n_bytes: int
    sha256: str  # 64 hexadecimal digits; empty where nobody has published it, which `model.json` may not do

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise BadModel(f"{MANIFEST_NAME} names the file {self.path!r}, which is no path inside the model")
        if self.role not in get_args(Role):
            raise BadModel(f"{self.path} has the unknown role {self.role!r}")
        if self.n_bytes < 1 or not (self.sha256 == "" or _SHA256.fullmatch(self.sha256)):
            raise BadModel(f"{MANIFEST_NAME} gives {self.path} an impossible length or sha256")


@dataclass(frozen=True)
class Manifest:
    """What a model is, and which files it is made of."""

    name: str  # its id in a catalogue
    title: str
    languages: tuple[str, ...]  # as in HTML's lang: "en", "fr"
    licence: str
    source: str  # where the weights come from
    notes: str  # what it can and cannot do, said honestly; may be empty
    config_json: Mapping[str, Any]  # the official config.json
    mimi_config_json: Mapping[str, Any]  # the official Mimi config
    files: tuple[ModelFile, ...]

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
            raise BadModel(f"Mimi has {n_bins} codes a codebook, the transformer knows {card}")

    @classmethod
    def parse(cls, text: bytes | bytearray | memoryview) -> Manifest:
        """Read the bytes of a `model.json`. Raises BadModel with what is wrong with them."""
        try:
            value = json.loads(str(text, "utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadModel(f"{MANIFEST_NAME} is not JSON ({error})") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise BadModel(f"{MANIFEST_NAME} is not of the format {FORMAT!r}")
        if not all(file.get("sha256") for file in _all(value, "files", dict)):
            raise BadModel(f"{MANIFEST_NAME} gives a file no sha256")
        return cls(
            name=_get(value, "name", str),
            title=_get(value, "title", str),
            languages=tuple(_all(value, "languages", str)),
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
                for file in _all(value, "files", dict)
            ),
        )

    def serialize(self) -> str:
        """The text of the `model.json` that parses to this manifest."""
        value = {
            "format": FORMAT,
            "name": self.name,
            "title": self.title,
            "languages": list(self.languages),
            "licence": self.licence,
            "source": self.source,
            "notes": self.notes,
            "config": dict(self.config_json),
            "mimi_config": dict(self.mimi_config_json),
            "files": [
                {"path": file.path, "role": file.role, "bytes": file.n_bytes, "sha256": file.sha256}
                for file in self.files
            ],
        }
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    @cached_property
    def lm_config(self) -> LMConfig:
        """The transformer's numbers."""
        return LMConfig.from_json(self.config_json)

    @cached_property
    def mimi_config(self) -> MimiConfig:
        """The Mimi encoder's numbers, with as many codebooks as the transformer listens to."""
        return MimiConfig.from_json(self.mimi_config_json, self.lm_config.n_codebooks)

    @property
    def n_bytes(self) -> int:
        return sum(file.n_bytes for file in self.files)

    def files_of(self, role: Role) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if file.role == role)


def _get(value: dict[str, Any], key: str, kind: type) -> Any:
    if type(value.get(key)) is not kind:
        raise BadModel(f"{MANIFEST_NAME} has no {key!r} that is {_KINDS[kind]}")
    return value[key]


def _all(value: dict[str, Any], key: str, kind: type) -> list[Any]:
    items = _get(value, key, list)
    if any(type(item) is not kind for item in items):
        raise BadModel(f"{MANIFEST_NAME} has {key!r} that are not each {_KINDS[kind]}")
    return cast(list[Any], items)


_KINDS = {str: "a text", int: "a whole number", dict: "an object", list: "a list"}
