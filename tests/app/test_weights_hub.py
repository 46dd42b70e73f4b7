"""Repositories of the Hub: their listing, and the catalogue's models in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tympan.errors import BadModel
from tympan.weights.catalogue import Catalogue, HubModel
from tympan.weights.hub import HubRepository, describe_files
from tympan.weights.manifest import ModelFile

CATALOGUE = Path(__file__).parents[2] / "static" / "models" / "catalogue.json"
SHA256 = "0a" * 32
LISTING: list[dict[str, Any]] = [
    {"type": "directory", "path": "docs", "oid": "1", "size": 0},
    {"type": "file", "path": "a.gguf", "oid": "1", "size": 70, "lfs": {"oid": SHA256, "size": 70, "pointerSize": 9}},
    {"type": "file", "path": "tokenizer.model", "oid": "2", "size": 5},
]


def test_urls() -> None:
    repository = HubRepository("https://hub.example", "owner/name", "a/b")
    assert repository.listing_url == "https://hub.example/api/models/owner/name/tree/a%2Fb"
    assert repository.file_url("x y.gguf") == "https://hub.example/owner/name/resolve/a%2Fb/x%20y.gguf"
    assert repository.page_url == "https://hub.example/owner/name"


def test_lengths_and_hashes_come_from_the_listing() -> None:
    files = describe_files(json.dumps(LISTING).encode(), [("a.gguf", "lm"), ("tokenizer.model", "tokenizer")])
    assert files == (ModelFile("a.gguf", "lm", 70, SHA256), ModelFile("tokenizer.model", "tokenizer", 5, ""))


@pytest.mark.parametrize(
    ("listing", "reason"),
    [
        (b"<html>", "cannot be read"),
        (b'{"error": "not found"}', "cannot be read"),
        (b"[1]", "cannot be read"),
        (b"[]", "does not list 'a.gguf'"),
        (b'[{"path": "a.gguf"}]', "does not list 'size'"),
        (b'[{"path": "a.gguf", "size": 7, "lfs": {"oid": "../../x"}}]', "invalid length or sha256"),
        (b'[{"path": "a.gguf", "size": -7}]', "invalid length or sha256"),
        (b'[{"path": "a.gguf", "size": 7, "lfs": 7}]', "cannot be read"),
    ],
)
def test_invalid_listing_is_rejected(listing: bytes, reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        describe_files(listing, [("a.gguf", "lm")])


def test_catalogue_has_the_released_model_with_attribution() -> None:
    model = Catalogue.parse(CATALOGUE.read_bytes(), "https://example.org/models/catalogue.json").find("stt-1b-en_fr")
    assert isinstance(model, HubModel)
    assert model.repository.page_url == "https://huggingface.co/idle-intelligence/stt-1b-en_fr-q4_0-webgpu"
    assert model.n_bytes == 556_670_144 + 112_497_680 + 120_378, "transformer, Mimi and tokenizer"
    listing = [{"path": path, "size": 1000, "lfs": {"oid": SHA256}} for path, _ in model.files]
    manifest = model.manifest(json.dumps(listing).encode())
    assert manifest.licence == "CC-BY 4.0"
    assert "Kyutai" in manifest.source
    assert manifest.languages == ("en", "fr")
    sizes = manifest.lm_config.transformer
    assert (sizes.d, sizes.n_layers, sizes.n_heads, sizes.context) == (2048, 16, 16, 750)
    assert (manifest.lm_config.card, manifest.lm_config.text_card, manifest.lm_config.n_codebooks) == (2048, 8000, 32)
    assert manifest.lm_config.n_extra_heads == 0
    assert (manifest.mimi_config.n_bins, manifest.mimi_config.transformer.d) == (2048, 512)
