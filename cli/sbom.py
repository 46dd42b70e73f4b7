"""The software bill of materials of the site: what it contains of others, with versions, licences and hashes.

The format is CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). The list comes from the lock files, so it changes
with them.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, TypeAlias

from tympan.cli.library import version

Component: TypeAlias = dict[str, Any]

NAME = "sbom.cdx.json"
LICENSE = "Apache-2.0"

LICENCES = {  # SPDX expressions of what names its licence otherwise, or only in the text of the licence
    "APACHE-2.0": "Apache-2.0",
    "micropip": "MPL-2.0",
    "numpy": "BSD-3-Clause",
    "packaging": "Apache-2.0 OR BSD-2-Clause",
}
# Bundled in the packages of others, whose lock files do not list them: name, licence, and what contains it.
BUNDLED = (
    ("CPython", "PSF-2.0", "pyodide"),
    ("Emscripten", "MIT", "pyodide"),
    ("codemirror", "MIT", "@pyscript/core"),
    ("@xterm/xterm", "MIT", "@pyscript/core"),
    ("@zip.js/zip.js", "BSD-3-Clause", "@pyscript/core"),
)
NOT_SHIPPED = {"ws"}  # which Pyodide needs in Node.js only


def sbom(root: Path) -> bytes:
    """The document, as JSON. root: of the sources, with the files that set-up installs."""
    components = [_demo_model(root), *_npm_packages(root), *_wheels(root)]
    for name, licence, container in BUNDLED:
        note = {"name": "tympan:bundled-in", "value": container}
        components.append({**_component("library", name, "", licence), "properties": [note]})
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", "tympan", version(root), LICENSE)},
        "components": components,
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _component(kind: str, name: str, number: str, licence: str) -> Component:
    key = "expression" if " " in licence else "license"
    value = licence if key == "expression" else {"id": licence}
    licences = [{key: value}]
    return {"type": kind, "name": name, **({"version": number} if number else {}), "licenses": licences}


def _demo_model(root: Path) -> Component:
    manifest = root / "static" / "models" / "demo" / "model.json"
    licence = json.loads(manifest.read_text("utf-8"))["licence"] if manifest.is_file() else LICENSE
    return _component("machine-learning-model", "tympan-demo", version(root), licence)


def _npm_packages(root: Path) -> Iterator[Component]:
    """The packages of package-lock.json, except those for the tests."""
    for path, package in json.loads((root / "package-lock.json").read_text("utf-8"))["packages"].items():
        name = path.rpartition("node_modules/")[2]
        if not path or package.get("dev") or name in NOT_SHIPPED:
            continue
        algorithm, _, digest = package["integrity"].partition("-")
        hashed = {"alg": algorithm.upper().replace("SHA", "SHA-"), "content": base64.b64decode(digest).hex()}
        licence = LICENCES.get(package["license"], package["license"])
        component = _component("library", name, package["version"], licence)
        yield {**component, "purl": f"pkg:npm/{name.replace('@', '%40')}@{package['version']}", "hashes": [hashed]}


def _wheels(root: Path) -> Iterator[Component]:
    """The wheels that Pyodide loads in the page, with the hashes of its lock file."""
    lock = json.loads((root / "node_modules" / "pyodide" / "pyodide-lock.json").read_text("utf-8"))
    hashes = {package["file_name"]: package["sha256"] for package in lock["packages"].values()}
    for path in sorted((root / ".cache" / "pyodide").glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = HeaderParser().parsestr(archive.read(member).decode())
        name, number = metadata["Name"], metadata["Version"]
        component = _component("library", name, number, LICENCES[name])
        hashed = {"alg": "SHA-256", "content": hashes[path.name]}
        yield {**component, "purl": f"pkg:pypi/{name}@{number}", "hashes": [hashed]}
