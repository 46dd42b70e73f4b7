"""ModelInfo: the metadata that the manifest, the catalogue and the page share."""

from __future__ import annotations

from tympan.weights.info import ModelInfo


def test_json_keys() -> None:
    info = ModelInfo("Title", ("en", "fr"), "CC-BY 4.0", "Somebody", "Good.")
    assert info.to_json() == {
        "title": "Title",
        "languages": ["en", "fr"],
        "licence": "CC-BY 4.0",
        "source": "Somebody",
        "notes": "Good.",
    }
