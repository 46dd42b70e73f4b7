"""Reads `models/catalogue.json`, the models that a site offers by name, and resolves model addresses.

    {"models": [{"id": "demo", "title": ..., "languages": ["en"], "licence": ..., "notes": ..., "bytes": 123,
                 "path": "demo"}, ...]}

The first model is the default. `path` is the model directory, relative to the catalogue. A model that is published in a
repository of the Hub, without a `model.json`, has these keys instead of `path`:

    "attribution": ..., "hub": {"host": ..., "repository": ..., "revision": ...}, "config": {...}, "mimi_config": {...},
    "files": [{"path": ..., "role": ...}, ...]

and, if its files lack the pause heads, where the official checkpoint has them:

    "pause_heads": {"repository": ..., "revision": ..., "path": "model.safetensors", "bytes": 123}

An official checkpoint that the page converts has `attribution` and `hub`, whose revision is a commit, and

    "checkpoint": {"download_bytes": 123, "kept_bytes": {"q4": 123, "q8": 123}}        by the format of the tables
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from tympan.errors import BadModel, UnknownModel
from tympan.weights.file import BytesLike
from tympan.weights.hub import HubRepository, describe_files
from tympan.weights.info import ModelInfo
from tympan.weights.manifest import Manifest, Role

CATALOGUE_NAME = "catalogue.json"


@dataclass(frozen=True)
class HeadsFile:
    """A safetensors file on the Hub whose tensors `extra_heads.*` are the pause heads."""

    url: str
    path: str
    n_bytes: int


@dataclass(frozen=True)
class HubModel:
    """A model in a repository of the Hub, with the metadata that its files do not contain."""

    id: str
    info: ModelInfo
    n_bytes: int  # expected total; the repository's listing has the exact sizes
    config_json: Mapping[str, Any]
    mimi_config_json: Mapping[str, Any]
    repository: HubRepository
    files: tuple[tuple[str, Role], ...]  # path and role
    pause_heads: HeadsFile | None = None  # if the files lack them

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> HubModel:
        """Read an entry of the catalogue. Raises KeyError or TypeError if a key is missing or has a wrong type."""
        return cls(
            id=entry["id"],
            info=_info(entry),
            n_bytes=entry["bytes"],
            config_json=entry["config"],
            mimi_config_json=entry["mimi_config"],
            repository=_repository(entry),
            files=tuple((str(file["path"]), cast(Role, file["role"])) for file in entry["files"]),
            pause_heads=_heads_file(entry["pause_heads"], entry["hub"]["host"]) if "pause_heads" in entry else None,
        )

    def manifest(self, listing: BytesLike) -> Manifest:
        """Build the manifest from the repository's current listing (JSON). Raises BadModel."""
        return Manifest(
            **vars(self.info),
            name=self.id,
            config_json=self.config_json,
            mimi_config_json=self.mimi_config_json,
            files=describe_files(listing, self.files),
        )


@dataclass(frozen=True)
class CheckpointModel:
    """An official checkpoint in a repository of the Hub, which the page converts."""

    id: str
    info: ModelInfo
    repository: HubRepository
    n_download_bytes: int
    n_kept_bytes: Mapping[str, int]  # in storage after the conversion, by the format of the embedding tables

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> CheckpointModel:
        """Read an entry of the catalogue. Raises KeyError or TypeError if a key is missing or has a wrong type."""
        checkpoint = entry["checkpoint"]
        return cls(
            id=entry["id"],
            info=_info(entry),
            repository=_repository(entry),
            n_download_bytes=int(checkpoint["download_bytes"]),
            n_kept_bytes={str(tables): int(n_bytes) for tables, n_bytes in checkpoint["kept_bytes"].items()},
        )


def _heads_file(entry: Mapping[str, Any], host: str) -> HeadsFile:
    repository = HubRepository(host, str(entry["repository"]), str(entry["revision"]))
    return HeadsFile(repository.file_url(entry["path"]), str(entry["path"]), int(entry["bytes"]))


def _info(entry: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        title=entry["title"],
        languages=tuple(entry["languages"]),
        licence=entry["licence"],
        source=entry["attribution"],
        notes=entry["notes"],
    )


def _repository(entry: Mapping[str, Any]) -> HubRepository:
    hub = entry["hub"]
    return HubRepository(str(hub["host"]), str(hub["repository"]), str(hub["revision"]))


@dataclass(frozen=True)
class Catalogue:
    """The models of a site.

    url: of the catalogue itself. entries: id -> JSON entry of the model, the default first.
    """

    url: str
    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, text: BytesLike, url: str) -> Catalogue:
        """Parse the bytes of a `catalogue.json` downloaded from `url`. Raises BadModel if they are not valid."""
        try:
            entries = {str(entry["id"]): dict(entry) for entry in json.loads(str(text, "utf-8"))["models"]}
            for entry in entries.values():
                _model(entry)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadModel(f"{url} is not a catalogue of models") from error
        if not entries:
            raise BadModel(f"{url} lists no model")
        return cls(url, entries)

    def find(self, model: str) -> str | HubModel | CheckpointModel:
        """Return the URL of a model directory, or a model or a checkpoint of the Hub.

        model: an id; the empty string selects the default. Raises UnknownModel, which lists the known ids.
        """
        entry = self.entries.get(model or next(iter(self.entries)))
        if entry is None:
            raise UnknownModel(model, tuple(self.entries))
        found = _model(entry)
        return urljoin(self.url, found) if isinstance(found, str) else found


def _model(entry: Mapping[str, Any]) -> str | HubModel | CheckpointModel:
    """The path of a model directory, or a model of the Hub. Raises KeyError, TypeError or AttributeError."""
    if "checkpoint" in entry:
        return CheckpointModel.from_json(entry)
    return HubModel.from_json(entry) if "hub" in entry else str(entry["path"])


def is_url(model: str) -> bool:
    """Whether `model` is a URL and not an id: it has a scheme, or begins with "/" or "."."""
    return model.startswith(("/", ".")) or ":" in model


def directory_url(model: str, page_url: str) -> str:
    """Return the absolute URL of a model directory. model: a URL, absolute or relative to the page.

    Raises UnknownModel for schemes other than http and https.
    """
    url = urljoin(page_url, model)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnknownModel(model)
    return url
