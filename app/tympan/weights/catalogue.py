"""Reads `models/catalogue.json`, the models that a site offers by name, and resolves model addresses.

    {"models": [{"id": "demo", "title": ..., "languages": ["en"], "licence": ..., "notes": ..., "bytes": 123,
                 "path": "demo"}, ...]}

The first model is the default. `path` is the model directory, relative to the catalogue. A model that is published in a
repository of the Hub, without a `model.json`, has these keys instead of `path`:

    "attribution": ..., "hub": {"host": ..., "repository": ..., "revision": ...}, "config": {...}, "mimi_config": {...},
    "files": [{"path": ..., "role": ...}, ...]
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
class HubModel:
    """A model in a repository of the Hub, with the metadata that its files do not contain."""

    id: str
    info: ModelInfo
    n_bytes: int  # expected total; the repository's listing has the exact sizes
    config_json: Mapping[str, Any]
    mimi_config_json: Mapping[str, Any]
    repository: HubRepository
    files: tuple[tuple[str, Role], ...]  # path and role

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> HubModel:
        """Reads an entry of the catalogue. Raises KeyError or TypeError if a key is missing or has a wrong type."""
        hub = entry["hub"]
        return cls(
            id=entry["id"],
            info=ModelInfo(
                title=entry["title"],
                languages=tuple(entry["languages"]),
                licence=entry["licence"],
                source=entry["attribution"],
                notes=entry["notes"],
            ),
            n_bytes=entry["bytes"],
            config_json=entry["config"],
            mimi_config_json=entry["mimi_config"],
            repository=HubRepository(str(hub["host"]), str(hub["repository"]), str(hub["revision"])),
            files=tuple((str(file["path"]), cast(Role, file["role"])) for file in entry["files"]),
        )

    def manifest(self, listing: BytesLike) -> Manifest:
        """Builds the manifest from the repository's current listing (JSON). Raises BadModel."""
        return Manifest(
            **vars(self.info),
            name=self.id,
            config_json=self.config_json,
            mimi_config_json=self.mimi_config_json,
            files=describe_files(listing, self.files),
        )


@dataclass(frozen=True)
class Catalogue:
    """The models of a site.

    url: of the catalogue itself. entries: id -> JSON entry of the model, the default first.
    """

    url: str
    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, text: BytesLike, url: str) -> Catalogue:
        """Parses the bytes of a `catalogue.json` downloaded from `url`. Raises BadModel if they are not valid."""
        try:
            entries = {str(entry["id"]): dict(entry) for entry in json.loads(str(text, "utf-8"))["models"]}
            for entry in entries.values():
                if "hub" in entry:
                    HubModel.from_json(entry)
                else:
                    str(entry["path"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadModel(f"{url} is not a catalogue of models") from error
        if not entries:
            raise BadModel(f"{url} lists no model")
        return cls(url, entries)

    def find(self, model: str) -> str | HubModel:
        """Returns the URL of a model directory, or a model of the Hub.

        model: an id; the empty string selects the default. Raises UnknownModel, which lists the known ids.
        """
        entry = self.entries.get(model or next(iter(self.entries)))
        if entry is None:
            raise UnknownModel(model, tuple(self.entries))
        return HubModel.from_json(entry) if "hub" in entry else urljoin(self.url, entry["path"])


def is_url(model: str) -> bool:
    """Whether `model` is a URL and not an id: it has a scheme, or begins with "/" or "."."""
    return model.startswith(("/", ".")) or ":" in model


def directory_url(model: str, page_url: str) -> str:
    """Returns the absolute URL of a model directory. model: a URL, absolute or relative to the page.

    Raises UnknownModel for schemes other than http and https.
    """
    url = urljoin(page_url, model)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnknownModel(model)
    return url
