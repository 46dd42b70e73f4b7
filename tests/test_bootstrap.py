"""The set-up, with sources and programs of the tests' own: nothing here reaches the network."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import bootstrap
from cli.errors import CommandError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Shop:
    """A source that has some files, and counts how often it is asked."""

    def __init__(self, **files: bytes) -> None:
        self.files, self.asked = files, 0

    def __call__(self, names: Sequence[str], into: Path) -> None:
        self.asked += 1
        for name in names:
            if name in self.files:
                (into / name).write_bytes(self.files[name])


def closed(names: Sequence[str], into: Path) -> None:
    raise CommandError("cannot be reached")


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_fetch_takes_each_file_from_the_first_source_that_has_it(tmp_path: Path) -> None:
    near, far = Shop(a=b"A"), Shop(a=b"A", b=b"B")
    bootstrap.fetch({"a": sha256(b"A"), "b": sha256(b"B")}, tmp_path / "cache", {"near": near, "far": far})
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == {"a": b"A", "b": b"B"}
    assert (near.asked, far.asked) == (1, 1)


def test_fetch_asks_nobody_for_what_is_there(tmp_path: Path) -> None:
    shop = Shop(a=b"A")
    for _ in range(2):
        bootstrap.fetch({"a": sha256(b"A")}, tmp_path / "cache", {"shop": shop})
    assert shop.asked == 1


def test_fetch_replaces_a_damaged_file_and_removes_a_strange_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"damaged")
    (tmp_path / "old").write_bytes(b"from a version before")
    bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"shop": Shop(a=b"A")})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"A"}


def test_fetch_goes_on_after_a_source_that_lies(tmp_path: Path) -> None:
    bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"liar": Shop(a=b"<html>"), "shop": Shop(a=b"A")})
    assert (tmp_path / "a").read_bytes() == b"A"


def test_a_wrong_hash_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=rf"^a cannot be had\. shop: its sha256 is {sha256(b'X')}, not ") as caught:
        bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"shop": Shop(a=b"X")})
    assert sha256(b"A") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^b cannot be had\. closed: cannot be reached; shop: is not there\.$"):
        bootstrap.fetch({"a": sha256(b"A"), "b": sha256(b"B")}, tmp_path, {"closed": closed, "shop": Shop(a=b"A")})


def test_the_distribution_is_where_pyodide_itself_would_look() -> None:
    pyodide = bootstrap.ROOT / "node_modules" / "pyodide"
    address = bootstrap.distribution_address((pyodide / "pyodide.mjs").read_text(), "1.2.3")
    assert address.startswith("https://")
    assert address.endswith("/v1.2.3/full/")


def test_wheels_come_out_of_the_mirror_when_the_distribution_is_out_of_reach(tmp_path: Path) -> None:
    pyodide = tmp_path / "node_modules" / "pyodide"
    pyodide.mkdir(parents=True)
    packages = {
        name: {"file_name": f"{name}.whl", "sha256": sha256(name.encode())} for name in bootstrap.PYODIDE_PACKAGES
    }
    (pyodide / "pyodide-lock.json").write_text(json.dumps({"info": {"version": "1.2.3"}, "packages": packages}))
    (pyodide / "pyodide.mjs").write_text("no address")
    with zipfile.ZipFile(tmp_path / "mirror.whl", "w") as mirror:
        for name in bootstrap.PYODIDE_PACKAGES:
            mirror.writestr(f"{bootstrap.MIRROR_FOLDER}/{name}.whl", name)
    # As pip is called: the folder stands after --dest, the package comes last.
    copy = f'while [ "$1" != --dest ]; do shift; done; test "$3" = {bootstrap.MIRROR} && cp {tmp_path}/mirror.whl "$2"'
    program(tmp_path / ".venv" / "bin" / "python", copy)

    bootstrap.install_wheels(tmp_path)

    wheels = {path.name: path.read_text() for path in (tmp_path / ".cache" / "pyodide").iterdir()}
    assert wheels == {f"{name}.whl": name for name in bootstrap.PYODIDE_PACKAGES}


def test_npm_runs_once_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "npm", f"mkdir -p node_modules; echo run >> {tmp_path}/log")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    for _ in range(2):
        bootstrap.install_npm_parts(tmp_path)
    assert (tmp_path / "log").read_text() == "run\n"
    (tmp_path / "package-lock.json").write_text("{ }")
    bootstrap.install_npm_parts(tmp_path)
    assert (tmp_path / "log").read_text() == "run\nrun\n"


def test_a_program_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "npm", "echo 'npm error the lock does not fit' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CommandError, match=r"^npm cannot install package-lock\.json: npm error the lock does not fit"):
        bootstrap.install_npm_parts(tmp_path)


def test_an_old_python_is_refused() -> None:
    with pytest.raises(CommandError, match=r"^Python 3\.11 or newer is needed; python3 is 3\.10\.$"):
        bootstrap.check_python((3, 10))
    bootstrap.check_python((3, 11))


def test_an_old_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "node", "echo v18.19.0")
    program(tmp_path / "npm", "")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(CommandError, match=r"^Node\.js 20 or newer is needed; node is v18\.19\.0\.$"):
        bootstrap.check_node()


def test_a_missing_npm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "node", "echo v20.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="there is no npm on the PATH"):
        bootstrap.check_node()


def test_the_locks_name_no_registry() -> None:
    for name in ("requirements.lock", "package-lock.json"):
        text = (bootstrap.ROOT / name).read_text()
        assert "resolved" not in text
        assert "://" not in "".join(line for line in text.splitlines() if '"url"' not in line), name
