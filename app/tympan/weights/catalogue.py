"""The models that a site offers by name: `models/catalogue.json`, and the addresses of all others.

    {"models": [{"id": "demo", "title": ..., "path": "demo", "bytes": 123, "languages": ["en"], "licence": ...,
                 "notes": ...}, ...]}

The first one is the default. `path` is relative to the catalogue. The page that lists the models reads the other keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from tympan.errors import BadModel, UnknownModel

CATALOGUE_NAME = "catalogue.json"


@dataclass(frozen=True)
class Catalogue:
    """url: of the catalogue itself. paths: id -> path of the model directory, the default first."""

    url: str
    paths: Mapping[str, str]

    @classmethod
    def parse(cls, text: bytes | bytearray | memoryview, url: str) -> Catalogue:
        """Read the bytes of a `catalogue.json` that came from `url`. Raises BadModel when they are not one."""
        try:
            models = json.loads(str(text, "utf-8"))["models"]
            paths = {str(model["id"]): str(model["path"]) for model in models}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadModel(f"{url} is not a catalogue of models") from error
        if not paths:
            raise BadModel(f"{url} lists no model")
        return cls(url, paths)

    def model_url(self, model: str) -> str:
        """The address of a model directory.

        model: an id; an empty one is the default. Raises UnknownModel with the ids there are.
        """
        path = self.paths.get(model or next(iter(self.paths)))
        if path is None:
            raise UnknownModel(model, tuple(self.paths))
        return urljoin(self.url, path)


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
