"""Writes the catalogue of a folder of models from their manifests, so that each is described in one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tympan.weights.catalogue import CATALOGUE_NAME, Catalogue
from tympan.weights.manifest import MANIFEST_NAME, Manifest


def write_catalogue(models: Path) -> None:
    """List every model directory in `models` in its catalogue, by name; models of the Hub stay in it as they are.

    Raises BadModel when a directory has a bad manifest, or when there is a catalogue that cannot be read.
    """
    manifests = [Manifest.parse(path.read_bytes()) for path in sorted(models.glob(f"*/{MANIFEST_NAME}"))]
    entries: list[dict[str, Any]] = [
        {
            "id": manifest.name,
            "title": manifest.title,
            "path": manifest.name,
            "bytes": manifest.n_bytes,
            "languages": list(manifest.languages),
            "licence": manifest.licence,
            "notes": manifest.notes,
        }
        for manifest in manifests
    ]
    path = models / CATALOGUE_NAME
    before = Catalogue.parse(path.read_bytes(), path.name).entries if path.exists() else {}
    entries += [dict(entry) for entry in before.values() if "hub" in entry]
    text = json.dumps({"models": entries}, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, "utf-8")
