from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.site import ROOT, build

VENDORED = (
    "vendor/micropython/micropython.mjs",
    "vendor/micropython/micropython.wasm",
    "vendor/pyodide/pyodide.mjs",
    "vendor/pyodide/pyodide.asm.js",
    "vendor/pyodide/pyodide.asm.wasm",
    "vendor/pyodide/pyodide-lock.json",
    "vendor/pyodide/python_stdlib.zip",
    "vendor/pyscript/core.js",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A small project that can be built: its own page, the real vendored parts."""
    root = tmp_path / "sources"
    for name in (
        "static/index.html",
        "app/main.py",
        "app/tympan/errors.py",
        "app/tympan/protocol.py",
        "app/tympan/text/cues.py",
        "shaders/add.wgsl",
        "pyscript.toml",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for name in ("node_modules", ".cache"):
        (root / name).symlink_to(ROOT / name)
    return root


def test_everything_the_page_fetches_is_there(dist: Path) -> None:
    site = contents(dist)
    expected = {*VENDORED, "index.html", "pyscript.toml", "tympan.zip", "app/main.py", "app/engine.py"}
    assert expected <= set(site)
    for package in ("numpy", "micropip", "packaging"):
        assert any(name.startswith(f"vendor/pyodide/{package}-") for name in site)
    assert not [name for name in site if name.endswith((".map", ".d.ts", ".pyc"))]
    assert site["index.html"] == (ROOT / "static" / "index.html").read_bytes()


def test_the_service_worker_is_told_every_file_by_its_hash(dist: Path) -> None:
    site = contents(dist)
    listed = json.loads(site["files.js"].decode().removeprefix("const FILES = ").removesuffix(";\n"))
    assert listed == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in site.items()
        if name not in ("service-worker.js", "files.js")
    }


def test_the_installed_page_finds_its_icons(dist: Path) -> None:
    manifest = json.loads((dist / "manifest.webmanifest").read_text("utf-8"))
    for icon in manifest["icons"]:
        content = (dist / icon["src"]).read_bytes()
        if icon["type"] == "image/png":
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
            assert icon["sizes"] == f"{width}x{height}"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in manifest["icons"]}


def test_the_library_carries_its_shaders(dist: Path) -> None:
    with zipfile.ZipFile(dist / "tympan.zip") as library:
        names = set(library.namelist())
    assert {"tympan/__init__.py", "tympan/transcriber.py", "tympan/mimi/encoder.py"} <= names
    shaders = {f"tympan/shaders/{path.name}" for path in (ROOT / "shaders").glob("*.wgsl")}
    assert shaders
    assert shaders <= names
    assert not [name for name in names if "__pycache__" in name]


def test_the_same_sources_give_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    build(tmp_path)
    assert contents(tmp_path) == contents(dist)


def test_a_second_build_writes_only_what_changed(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    build(dist, sources)
    before = {name: (dist / name).stat().st_mtime_ns for name in contents(dist)}
    (sources / "static" / "index.html").write_text("edited")
    build(dist, sources)
    after = {name: (dist / name).stat().st_mtime_ns for name in contents(dist)}
    assert {name for name in after if after[name] != before[name]} == {"index.html", "files.js"}


def test_what_is_no_longer_made_is_removed(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    extra = sources / "static" / "old" / "page.html"
    extra.parent.mkdir()
    extra.write_text("old")
    build(dist, sources)
    assert (dist / "old" / "page.html").exists()
    extra.unlink()
    (dist / "stranger.txt").write_text("not of this site")
    build(dist, sources)
    assert not (dist / "old").exists()
    assert not (dist / "stranger.txt").exists()


def test_a_file_gives_way_to_a_folder_of_its_name(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    (sources / "static" / "models").write_text("a file")
    build(dist, sources)
    (sources / "static" / "models").unlink()
    (sources / "static" / "models").mkdir()
    (sources / "static" / "models" / "catalogue.json").write_text("{}")
    build(dist, sources)
    assert (dist / "models" / "catalogue.json").read_text() == "{}"


def test_a_part_that_is_not_installed_is_named(sources: Path, tmp_path: Path) -> None:
    (sources / "node_modules").unlink()
    with pytest.raises(CommandError, match=r"pyodide\.mjs is missing; \./serve installs it\.$"):
        build(tmp_path / "dist", sources)
