"""Writes the catalogue of a folder of models from their manifests, so that metadata is maintained only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tympan.weights.catalogue import CATALOGUE_NAME, Catalogue
from tympan.weights.manifest import MANIFEST_NAME, Manifest


def write_catalogue(models: Path) -> None:
    """List every model directory in `models`, sorted by name, in the catalogue. Keeps existing entries of Hub models.

    Raises BadModel if a manifest or the existing catalogue is invalid.
    """
    manifests = [Manifest.parse(path.read_bytes()) for path in sorted(models.glob(f"*/{MANIFEST_NAME}"))]
    entries: list[dict[str, Any]] = [
        {"id": manifest.name, "title": manifest.title, "path": manifest.name, "bytes": manifest.n_bytes}
        | {key: value for key, value in manifest.to_json().items() if key != "source"}
        for manifest in manifests
    ]
    path = models / CATALOGUE_NAME
    before = Catalogue.parse(path.read_bytes(), path.name).entries if path.exists() else {}
    entries += [dict(entry) for entry in before.values() if "hub" in entry]
    text = json.dumps({"models": entries}, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, "utf-8")
