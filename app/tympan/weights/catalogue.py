"""The models that a site offers by name: `models/catalogue.json`, and the addresses of all others.

    {"models": [{"id": "demo", "title": ..., "languages": ["en"], "licence": ..., "attribution": ..., "notes": ...,
                 "bytes": 123, "path": "demo"}, ...]}

The first one is the default. `path` is that of a model directory, relative to the catalogue. A model that somebody else
publishes, with files but no `model.json`, has instead of it

    "hub": {"host": ..., "repository": ..., "revision": ...}, "config": {...}, "mimi_config": {...},
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
from tympan.weights.manifest import Manifest, Role

CATALOGUE_NAME = "catalogue.json"


@dataclass(frozen=True)
class HubModel:
    """A model in a repository of the Hub, with all that its files do not say of themselves."""

    about: Mapping[str, Any]  # its entry in the catalogue, the keys of a manifest among others
    repository: HubRepository
    files: tuple[tuple[str, Role], ...]  # path and role

    def manifest(self, listing: BytesLike) -> Manifest:
        """What the model is made of. listing: of the repository, as it is now. Raises BadModel."""
        about = self.about
        return Manifest(
            name=about["id"],
            title=about["title"],
            languages=tuple(about["languages"]),
            licence=about["licence"],
            source=about["attribution"],
            notes=about["notes"],
            config_json=about["config"],
            mimi_config_json=about["mimi_config"],
            files=describe_files(listing, self.files),
        )


@dataclass(frozen=True)
class Catalogue:
    """url: of the catalogue itself. entries: id -> what it says of a model, the default first."""

    url: str
    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, text: BytesLike, url: str) -> Catalogue:
        """Read the bytes of a `catalogue.json` that came from `url`. Raises BadModel when they are not one."""
        try:
            entries = {str(entry["id"]): dict(entry) for entry in json.loads(str(text, "utf-8"))["models"]}
            for entry in entries.values():
                if "hub" in entry:
                    _hub_model(entry)
                else:
                    str(entry["path"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadModel(f"{url} is not a catalogue of models") from error
        if not entries:
            raise BadModel(f"{url} lists no model")
        return cls(url, entries)

    def find(self, model: str) -> str | HubModel:
        """The address of a model directory, or a model of the Hub.

        model: an id; an empty one is the default. Raises UnknownModel with the ids there are.
        """
        entry = self.entries.get(model or next(iter(self.entries)))
        if entry is None:
            raise UnknownModel(model, tuple(self.entries))
        return _hub_model(entry) if "hub" in entry else urljoin(self.url, entry["path"])


def _hub_model(entry: Mapping[str, Any]) -> HubModel:
    """Raises KeyError or TypeError where the entry lacks something."""
    hub = entry["hub"]
    for key in ("title", "languages", "licence", "attribution", "notes", "bytes", "config", "mimi_config"):
        entry[key]
    return HubModel(
        about=entry,
        repository=HubRepository(str(hub["host"]), str(hub["repository"]), str(hub["revision"])),
        files=tuple((str(file["path"]), cast(Role, file["role"])) for file in entry["files"]),
    )


def is_url(model: str) -> bool:
    """Whether `model` is an address rather than an id: it has a scheme, or begins with "/" or "."."""
    return model.startswith(("/", ".")) or ":" in model


def directory_url(model: str, page_url: str) -> str:
    """The absolute address of a model directory given as one, relative to the page or absolute.

    Raises UnknownModel for anything that is not fetched over http or https.
    """
    url = urljoin(page_url, model)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnknownModel(model)
    return url
