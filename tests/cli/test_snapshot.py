"""What the engine starts from, made by a stand-in for Node.js."""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_bootstrap import program
from tympan.cli.errors import CommandError
from tympan.cli.site import ROOT
from tympan.cli.snapshot import SCRIPT, compared_files, snapshot_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The sources of a library with one module, and what set-up installs."""
    root = tmp_path / "root"
    for path in (SCRIPT, Path("pyproject.toml")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, root / path)
    for folder in ("app/tympan", "shaders", "node_modules/pyodide", ".cache/pyodide"):
        (root / folder).mkdir(parents=True)
    (root / "app" / "tympan" / "__init__.py").write_text("")
    (root / "node_modules" / "pyodide" / "package.json").write_text("{}")
    write_numpy(root, "1")
    return root


def write_numpy(root: Path, content: str) -> None:
    with zipfile.ZipFile(root / ".cache" / "pyodide" / "numpy-any.whl", "w") as wheel:
        wheel.writestr(zipfile.ZipInfo("numpy.py"), content)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`node(script)` makes a shell script the program `node`.

    Its arguments: $1 the script, $2 Pyodide, $3 the packages, $4 the library, $5 the folder to write to.
    """

    def install(script: str) -> None:
        program(tmp_path / "bin" / "node", script)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return install


def test_snapshot_is_made_once_for_the_same_sources(root: Path, node: Callable[[str], None], tmp_path: Path) -> None:
    log = tmp_path / "log"
    node(f'mkdir "$5"; cat "$3/numpy.py" > "$5/snapshot.bin"; echo "[]" > "$5/libraries.json"; echo run >> {log}')
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: (root / "app" / "tympan" / "new.py").write_text("x = 1"),
        lambda: (root / SCRIPT).write_text(""),
        lambda: (root / "node_modules" / "pyodide" / "package.json").write_text("{ }"),
        lambda: write_numpy(root, "2"),
    ]
    for n_changes, change in enumerate(changes, 1):
        change()
        for _ in range(2):
            files = {path.name: path.read_bytes() for path in snapshot_files(root)}
        assert log.read_text() == n_changes * "run\n"
    assert set(files) == {"snapshot.bin", "libraries.json"}
    assert gzip.decompress(files["snapshot.bin"]) == b"2"
    assert files["libraries.json"] == b"[]\n"
    assert all(path.exists() for path in compared_files(root))


def test_failure_of_node_is_reported_without_the_line_of_pyodide(root: Path, node: Callable[[str], None]) -> None:
    node(f"echo {2000 * 'x'} >&2; echo 'No module named x' >&2; exit 1")
    with pytest.raises(CommandError, match=r"^Pyodide cannot import the library in Node\.js:\nNo module named x$"):
        snapshot_files(root)
    node('mkdir "$5"; touch "$5/snapshot.bin"')
    assert [path.name for path in snapshot_files(root)] == ["snapshot.bin"], "the failed one is not kept"


def test_missing_pyodide_is_reported(root: Path) -> None:
    (root / ".cache" / "pyodide" / "numpy-any.whl").unlink()
    with pytest.raises(CommandError, match=r"Run \./serve to install"):
        snapshot_files(root)
