"""The build of the static site."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tympan.cli.errors import CommandError
from tympan.cli.library import version, wheel_name
from tympan.cli.locking import locked
from tympan.cli.site import DIST, ENVIRONMENT_VARIABLE, ROOT, build, prepare
from tympan.cli.snapshot import SCRIPT

VENDORED = (
    "vendor/micropython/micropython.mjs",
    "vendor/micropython/micropython.wasm",
    "vendor/pyodide/pyodide.mjs",
    "vendor/pyodide/pyodide.asm.js",
    "vendor/pyodide/pyodide.asm.wasm",
    "vendor/pyodide/pyodide-lock.json",
    "vendor/pyodide/python_stdlib.zip",
    "vendor/pyodide/snapshot.bin",
    "vendor/pyodide/libraries.json",
    "vendor/pyodide/_multiarray_umath.bin",
    "vendor/pyscript/core.js",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A small source tree that can be built, with the installed vendored files."""
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
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (root / SCRIPT).parent.mkdir()
    (root / SCRIPT).write_text('import { mkdirSync } from "node:fs";\nmkdirSync(process.argv.at(-1));\n')
    (root / ".cache").mkdir()
    for name in ("node_modules", ".cache/pyodide", "package-lock.json"):
        (root / name).symlink_to(ROOT / name)
    return root


def test_the_site_has_every_file_that_the_page_fetches(tympan_site: Path) -> None:
    site = contents(tympan_site)
    expected = {*VENDORED, "index.html", "pyscript.toml", wheel_name(ROOT), "app/main.py", "app/engine.py"}
    assert expected <= set(site)
    for package in ("numpy", "micropip", "packaging"):
        assert any(name.startswith(f"vendor/pyodide/{package}-") for name in site)
    assert not [name for name in site if name.endswith((".map", ".d.ts", ".pyc"))]
    assert site["index.html"] == (ROOT / "static" / "index.html").read_bytes()


def test_the_file_list_has_every_file_with_its_hash(tympan_site: Path) -> None:
    site = contents(tympan_site)
    listed = json.loads(site["files.js"].decode().removeprefix("const FILES = ").removesuffix(";\n"))
    assert listed == {
        name: f"sha256-{b64encode(hashlib.sha256(content).digest()).decode()}"
        for name, content in site.items()
        if name not in ("service-worker.js", "files.js")
    }


def test_the_web_app_manifest_names_existing_icons(tympan_site: Path) -> None:
    manifest = json.loads((tympan_site / "manifest.webmanifest").read_text("utf-8"))
    for icon in manifest["icons"]:
        content = (tympan_site / icon["src"]).read_bytes()
        if icon["type"] == "image/png":
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
            assert icon["sizes"] == f"{width}x{height}"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in manifest["icons"]}


def test_the_library_contains_the_shaders(tympan_site: Path) -> None:
    with zipfile.ZipFile(tympan_site / wheel_name(ROOT)) as library:
        names = set(library.namelist())
    assert {"tympan/__init__.py", "tympan/transcriber.py", "tympan/wasm/kernels-simd.wasm"} <= names
    shaders = {f"tympan/shaders/{path.name}" for path in (ROOT / "shaders").glob("*.wgsl")}
    assert shaders
    assert shaders <= names
    assert not [name for name in names if "__pycache__" in name]


def test_the_library_contains_nothing_that_no_worker_needs(tympan_site: Path) -> None:
    with zipfile.ZipFile(tympan_site / wheel_name(ROOT)) as library:
        names = library.namelist()
    folders = {name.split("/")[1] for name in names if name.count("/") > 1}
    assert folders == {"checkpoint", "embed", "gpu", "lm", "mimi", "shaders", "text", "wasm", "weights"}
    assert not [name for name in names if name.endswith((".c", ".h", "wasm/build.py"))]


def test_the_library_is_a_valid_wheel(tympan_site: Path, tmp_path: Path) -> None:
    """An installer checks the record, and installs the package with its version."""
    pip = [sys.executable, "-m", "pip", "--no-input", "install", "--no-deps", "--no-index", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--target", str(tmp_path), str(tympan_site / wheel_name(ROOT))], check=True)
    (installed,) = distributions(path=[str(tmp_path)])
    assert (installed.name, installed.version) == ("tympan", version(ROOT))
    assert installed.files
    assert all(Path(file.locate()).is_file() for file in installed.files)
    assert {path.name for path in tmp_path.iterdir()} == {"tympan", f"tympan-{version(ROOT)}.dist-info"}


def test_configurations_name_the_library(tympan_site: Path) -> None:
    assert f'"./{wheel_name(ROOT)}"' in (tympan_site / "pyscript.toml").read_text("utf-8")
    assert f'LIBRARY = "{wheel_name(ROOT)}"' in (tympan_site / "bridge" / "protocol.js").read_text("utf-8")


def test_the_build_is_reproducible(tympan_site: Path, tmp_path: Path) -> None:
    build(tmp_path)
    assert contents(tmp_path) == contents(tympan_site)


def test_a_second_build_writes_only_changed_files(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    build(dist, sources)
    before = {name: (dist / name).stat().st_mtime_ns for name in contents(dist)}
    (sources / "static" / "index.html").write_text("edited")
    build(dist, sources)
    after = {name: (dist / name).stat().st_mtime_ns for name in contents(dist)}
    assert {name for name in after if after[name] != before[name]} == {"index.html", "files.js"}


def test_stale_files_are_removed(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    extra = sources / "static" / "old" / "page.html"
    extra.parent.mkdir()
    extra.write_text("old")
    build(dist, sources)
    assert (dist / "old" / "page.html").exists()
    extra.unlink()
    (dist / "stranger.txt").write_text("not part of the site")
    build(dist, sources)
    assert not (dist / "old").exists()
    assert not (dist / "stranger.txt").exists()


def test_a_folder_replaces_a_file_of_the_same_name(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    (sources / "static" / "models").write_text("a file")
    build(dist, sources)
    (sources / "static" / "models").unlink()
    (sources / "static" / "models").mkdir()
    (sources / "static" / "models" / "catalogue.json").write_text("{}")
    build(dist, sources)
    assert (dist / "models" / "catalogue.json").read_text() == "{}"


def test_a_missing_vendored_file_is_reported(sources: Path, tmp_path: Path) -> None:
    (sources / "node_modules").unlink()
    with pytest.raises(CommandError, match=r"pyodide\.mjs is missing\. Run \./serve to install it\.$"):
        build(tmp_path / "dist", sources)


def test_builds_into_the_same_folder_wait_for_each_other(sources: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    with ThreadPoolExecutor(1) as pool:
        with locked(dist):
            second = pool.submit(build, dist, sources)
            with pytest.raises(TimeoutError):
                second.result(0.5)
            assert list(dist.iterdir()) == []
        second.result()
    assert (dist / "index.html").exists()


def test_commands_use_the_site_of_the_environment_variable(
    tympan_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tympan_site != DIST
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tympan_site))
    assert prepare() == tympan_site
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(CommandError, match=f"^TYMPAN_SITE is set to {tmp_path}, which is not a built site.$"):
        prepare()
