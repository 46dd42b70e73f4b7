"""Builds the static site: every file the page fetches, in one folder that any static host can serve.

dist/
    index.html ...         static/, unchanged
    bridge/protocol.js     the messages and constants of app/tympan/protocol.py, for JavaScript
    pyscript.toml          PyScript configuration for authors' pages
    tympan.zip             the package `tympan` with its shaders, unpacked by the engine worker
    app/                   main.py and engine.py, and the modules of the package that MicroPython imports in the page
    vendor/pyodide/        the runtime and the wheels, with the lock file that names them
    vendor/pyscript/       PyScript modules
    vendor/micropython/    the interpreter of the page thread
    files.js               the list of all files with their SHA-256, for the service worker
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from io import BytesIO
from pathlib import Path

from cli.errors import CommandError
from tympan import errors, protocol

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
ENVIRONMENT_VARIABLE = "TYMPAN_SITE"

PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
MICROPYTHON_FILES = ("micropython.mjs", "micropython.wasm")
PYSCRIPT_SUFFIXES = (".js", ".css")
SHARED_MODULES = ("errors.py", "protocol.py", "text/cues.py")  # modules of the package that both interpreters import

SERVICE_WORKER, SITE_LIST = "service-worker.js", "files.js"

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest date of a zip; a fixed date makes the build reproducible
ZIP_MODE = 0o644 << 16


def prepare() -> Path:
    """Return a folder with a built site: the one that $TYMPAN_SITE names, unchanged, or else `dist/`, built now.

    Raises CommandError when $TYMPAN_SITE names no built site, or a vendored file is not installed.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        build(DIST)
        return DIST
    if not (Path(named) / SITE_LIST).is_file():
        raise CommandError(f"{ENVIRONMENT_VARIABLE} is set to {named}, which is not a built site.")
    return Path(named)


def build(dist: Path, root: Path = ROOT) -> None:
    """Build the site of the sources in `root` into the folder `dist`.

    Unchanged files keep their modification time, so that browsers keep their cached copies. Other files in `dist`
    are deleted. Builds into the same folder wait for each other, and each file is replaced in one step, so that a
    server never sends half of one.

    Raises CommandError when a vendored file is not installed.
    """
    site = _plan(root)
    with locked(dist):
        for name, content in site.items():
            _write(dist / name, content)
        for path in sorted(dist.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(dist).as_posix() not in site:
                path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, which is created if needed. Other processes wait."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # which releases the lock


def _plan(root: Path) -> dict[str, Path | bytes]:
    """Map the path of every file of the site to its source file or its content."""
    modules = root / "node_modules"
    wheels = root / ".cache" / "pyodide"
    site: dict[str, Path | bytes] = {}
    for path in _files(root / "static"):
        site[path.relative_to(root / "static").as_posix()] = path
    for path in sorted((root / "app").glob("*.py")):
        site[f"app/{path.name}"] = path
    package = root / "app" / "tympan"
    for path in [*(package / name for name in SHARED_MODULES), *sorted((package / "browser").glob("*.py"))]:
        site[path.relative_to(root).as_posix()] = path
    site["pyscript.toml"] = root / "pyscript.toml"
    site["tympan.zip"] = _library(root)
    site["bridge/protocol.js"] = protocol_module().encode()
    for name in PYODIDE_FILES:
        site[f"vendor/pyodide/{name}"] = _installed(modules / "pyodide" / name)
    for path in sorted(_installed(wheels).glob("*.whl")):
        site[f"vendor/pyodide/{path.name}"] = path
    for path in sorted(_installed(modules / "@pyscript" / "core" / "dist").iterdir()):
        if path.suffix in PYSCRIPT_SUFFIXES:
            site[f"vendor/pyscript/{path.name}"] = path
    for name in MICROPYTHON_FILES:
        path = modules / "@micropython" / "micropython-webassembly-pyscript" / name
        site[f"vendor/micropython/{name}"] = _installed(path)
    site[SITE_LIST] = _list(site)
    return site


def protocol_module() -> str:
    """`tympan.protocol` as a JavaScript module, with the sentences of the errors that JavaScript raises."""
    constants = {name: value for name, value in vars(protocol).items() if name.isupper()}
    constants["PAGE_ERRORS"] = {kind: _sentence(getattr(errors, kind)) for kind in protocol.PAGE_ERRORS}
    lines = [f"export const {name} = {json.dumps(value, ensure_ascii=False)};" for name, value in constants.items()]
    return "\n".join(["// Written by cli/site.py from app/tympan/protocol.py.", *lines, ""])


def _sentence(kind: type[errors.TympanError]) -> str:
    """The sentence of an error, with its fields in braces."""
    return str(kind(**{name: f"{{{name}}}" for name in signature(kind).parameters}))


def _list(site: Mapping[str, Path | bytes]) -> bytes:
    """The script that lists the files of the site for the service worker, without itself and the service worker."""
    digests = {
        name: hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()
        for name, content in sorted(site.items())
        if name != SERVICE_WORKER
    }
    return f"const FILES = {json.dumps(digests, indent=2)};\n".encode()


def _library(root: Path) -> bytes:
    """Zip the package `tympan`, with the shaders in `tympan/shaders`."""
    package, shaders = root / "app" / "tympan", root / "shaders"
    members = {f"tympan/{path.relative_to(package).as_posix()}": path for path in _files(package)}
    members |= {f"tympan/shaders/{path.name}": path for path in sorted(shaders.glob("*.wgsl"))}
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in sorted(members.items()):
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ZIP_MODE
            archive.writestr(entry, path.read_bytes())
    return target.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _installed(path: Path) -> Path:
    if not path.exists():
        raise CommandError(f"{path} is missing. Run ./serve to install it.")
    return path


def _write(path: Path, content: Path | bytes) -> None:
    if _holds(path, content):
        return
    for parent in path.parents:
        if parent.is_file():  # an earlier build had a file of this name
            parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    new.replace(path)


def _holds(path: Path, content: Path | bytes) -> bool:
    """Whether the file `path` has this content. Compares sizes before bytes."""
    if not path.is_file():
        return False
    if isinstance(content, bytes):
        return path.read_bytes() == content
    return path.stat().st_size == content.stat().st_size and path.read_bytes() == content.read_bytes()
