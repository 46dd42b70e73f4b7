"""Writes the catalogue of a folder of models from their manifests, so that a model is described in one place."""

from __future__ import annotations

import json
from pathlib import Path

from tympan.weights.catalogue import CATALOGUE_NAME
from tympan.weights.manifest import MANIFEST_NAME, Manifest


def write_catalogue(models: Path) -> None:
    """List every model directory in `models` in its catalogue, by name. Raises BadModel when one has a bad manifest."""
    manifests = [Manifest.parse(path.read_bytes()) for path in sorted(models.glob(f"*/{MANIFEST_NAME}"))]
    entries = [
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
    text = json.dumps({"models": entries}, indent=1, ensure_ascii=False) + "\n"
    (models / CATALOGUE_NAME).write_text(text, "utf-8")
