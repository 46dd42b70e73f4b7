"""model.json: round trip, and messages for invalid content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tympan.errors import BadModel
from tympan.weights.manifest import Manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
SHA256 = "0123456789abcdef" * 4


def value() -> dict[str, Any]:
    return {
        "format": "tympan/1",
        "name": "a",
        "title": "Golden “a”",
        "languages": ["en", "fr"],
        "licence": "none",
        "source": "random numbers",
        "config": json.loads((GOLDEN / "config.json").read_text()),
        "mimi_config": json.loads((GOLDEN / "mimi_config.json").read_text()),
        "files": [
            {"path": "lm-00001.safetensors", "role": "lm", "bytes": 10, "sha256": SHA256},
            {"path": "lm-00002.safetensors", "role": "lm", "bytes": 20, "sha256": SHA256},
            {"path": "mimi/encoder@1.safetensors", "role": "mimi", "bytes": 30, "sha256": SHA256},
            {"path": "tokenizer.model", "role": "tokenizer", "bytes": 40, "sha256": SHA256},
        ],
    }


def parse(value: object) -> Manifest:
    return Manifest.parse(json.dumps(value).encode())


def test_round_trip() -> None:
    manifest = parse(value() | {"notes": "Random weights."})
    assert Manifest.parse(manifest.serialize().encode()) == manifest
    assert json.loads(manifest.serialize()) == value() | {"notes": "Random weights."}


def test_contents() -> None:
    manifest = parse(value())
    assert manifest.languages == ("en", "fr")
    assert manifest.notes == ""
    assert manifest.n_bytes == 100
    assert [file.path for file in manifest.files_of("lm")] == ["lm-00001.safetensors", "lm-00002.safetensors"]
    assert manifest.lm_config.transformer.d == 128
    assert manifest.mimi_config.n_codebooks == manifest.lm_config.n_codebooks == 8


def setting(*keys: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (setting("format", to="tympan/2"), "does not have the format"),
        (setting("name", to=None), "'name' that is a string"),
        (setting("languages", to="en"), "'languages' that is a list"),
        (setting("languages", to=[1]), "an item in 'languages' that is not a string"),
        (setting("notes", to=[]), "'notes'"),
        (setting("config", to={}), "no key"),
        (setting("config", "card", to=127), "128 codes per codebook, the transformer expects 127"),
        (setting("config", "n_q", to=9), "8 codebooks, the transformer asks for 9"),
        (setting("mimi_config", "seanet", to=3), "wrong kind"),
        (setting("files", to=[]), "0 files with the role 'lm'"),
        (setting("files", 3, "role", to="lm"), "0 files with the role 'tokenizer'"),
        (setting("files", 1, "role", to="tokenizer"), "2 files with the role 'tokenizer'"),
        (setting("files", 1, "role", to="script"), "unknown role 'script'"),
        (setting("files", 1, "path", to="lm-00001.safetensors"), "a file twice"),
        (setting("files", 1, "bytes", to=True), "'bytes' that is an integer"),
        (setting("files", 1, "bytes", to=-1), "invalid length"),
        (setting("files", 1, "sha256", to="F" * 64), "invalid length or sha256"),
        (setting("files", 1, "sha256", to=""), "a file without sha256"),
    ],
)
def test_invalid_field_is_named(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    broken = value()
    change(broken)
    with pytest.raises(BadModel, match=reason):
        parse(broken)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../secret", "a/../b", "a//b", "a/", "C:\\x", "https://host/x", "%2e%2e/x", "a\n", ".git"],
)
def test_path_outside_the_directory_is_rejected(path: str) -> None:
    outside = value()
    outside["files"][0]["path"] = path
    with pytest.raises(BadModel, match="not a path inside the model"):
        parse(outside)


@pytest.mark.parametrize("text", [b"", b"<!doctype html>", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_other_files_are_rejected(text: bytes) -> None:
    with pytest.raises(BadModel, match=r"model\.json"):
        Manifest.parse(text)
