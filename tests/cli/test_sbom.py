"""The software bill of materials names everything that the site contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tympan.cli.library import version
from tympan.cli.sbom import NAME
from tympan.cli.site import ROOT

# The folder or file of the site, and the component that it comes from.
ORIGINS = {
    "vendor/pyodide/": "pyodide",
    "vendor/pyscript/": "@pyscript/core",
    "vendor/micropython/": "@micropython/micropython-webassembly-pyscript",
    "models/demo/": "tympan-demo",
}


@pytest.fixture(scope="module")
def document(tympan_site: Path) -> dict[str, Any]:
    return dict(json.loads((tympan_site / NAME).read_text("utf-8")))


def test_the_document_describes_this_version(document: dict[str, Any]) -> None:
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    described = document["metadata"]["component"]
    assert (described["name"], described["version"]) == ("tympan", version(ROOT))


def test_every_vendored_file_has_a_component(document: dict[str, Any], tympan_site: Path) -> None:
    named = {component["name"] for component in document["components"]}
    for path in (tympan_site / "vendor").rglob("*"):
        if path.is_file():
            place = path.relative_to(tympan_site).as_posix()
            wheel = path.name.split("-")[0] if path.suffix == ".whl" else ""
            assert (wheel or next(name for prefix, name in ORIGINS.items() if place.startswith(prefix))) in named
    assert set(ORIGINS.values()) <= named


def test_every_component_has_a_licence_and_downloads_have_a_hash(document: dict[str, Any]) -> None:
    for component in document["components"]:
        (licence,) = component["licenses"]
        assert licence.get("expression") or licence["license"]["id"]
        if "purl" in component:
            (digest,) = component["hashes"]
            assert len(digest["content"]) == {"SHA-256": 64, "SHA-512": 128}[digest["alg"]]
    assert len([component for component in document["components"] if "purl" in component]) > 20


def test_packages_of_the_tests_are_not_listed(document: dict[str, Any]) -> None:
    assert not {"typescript", "vite", "ws"} & {component["name"] for component in document["components"]}
