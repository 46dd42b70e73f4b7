"""Every file of the static site, from the sources of a checkout.

index.html ...         static/, unchanged
bridge/protocol.js     the messages and constants of app/tympan/protocol.py, for JavaScript
pyscript.toml          PyScript configuration for authors' pages
tympan-*.whl           the package `tympan` with its shaders, for the engine worker and for authors' pages
app/                   main.py and engine.py, and the modules of the package that MicroPython imports in the page
vendor/pyodide/        the runtime, the wheels with the lock file that names them, and what the engine starts from:
                       a snapshot of the runtime's memory with the library imported, and numpy's libraries
vendor/pyscript/       PyScript modules
vendor/micropython/    the interpreter of the page thread
sbom.cdx.json          what the site contains of others, with licences
files.js               the list of all files with their SHA-256, for the service worker
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import TypeAlias

from tympan import errors, protocol
from tympan.cli import library, sbom
from tympan.cli.errors import CommandError
from tympan.cli.snapshot import snapshot_files

Files: TypeAlias = dict[str, Path | bytes]  # path in the site -> source file or content

PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
MICROPYTHON_FILES = ("micropython.mjs", "micropython.wasm")
PYSCRIPT_SUFFIXES = (".js", ".css")
SHARED_MODULES = ("errors.py", "protocol.py", "text/cues.py")  # modules of the package that both interpreters import

SERVICE_WORKER, SITE_LIST = "service-worker.js", "files.js"


def site_files(root: Path) -> Files:
    """Map the path of every file of the site to its source file or its content.

    Raises CommandError when a vendored file is not installed.
    """
    site: Files = {}
    for path in _files(root / "static"):
        site[path.relative_to(root / "static").as_posix()] = path
    for path in sorted((root / "app").glob("*.py")):
        site[f"app/{path.name}"] = path
    package = root / "app" / "tympan"
    for path in [*(package / name for name in SHARED_MODULES), *sorted((package / "browser").glob("*.py"))]:
        site[path.relative_to(root).as_posix()] = path
    site["pyscript.toml"] = _with_library(root / "pyscript.toml", root)
    site[library.wheel_name(root)] = library.wheel(root)
    site["bridge/protocol.js"] = protocol_module(root).encode()
    site |= vendored_files(root)
    site[sbom.NAME] = sbom.sbom(root)
    site[SITE_LIST] = _list(site)
    return site


def vendored_files(root: Path) -> dict[str, Path]:
    """The files of the site that are others', and the snapshot. Raises CommandError when one is missing."""
    modules, wheels = root / "node_modules", root / ".cache" / "pyodide"
    files: dict[str, Path] = {}
    for name in PYODIDE_FILES:
        path = modules / "pyodide" / name
        if not path.exists() and path.with_suffix(".mjs").exists():  # since Pyodide 314
            path = path.with_suffix(".mjs")
        files[f"vendor/pyodide/{path.name}"] = _installed(path)
    for path in sorted(_installed(wheels).glob("*.whl")):
        files[f"vendor/pyodide/{path.name}"] = path
    for path in snapshot_files(root):
        files[f"vendor/pyodide/{path.name}"] = path
    for path in sorted(_installed(modules / "@pyscript" / "core" / "dist").iterdir()):
        if path.suffix in PYSCRIPT_SUFFIXES:
            files[f"vendor/pyscript/{path.name}"] = path
    for name in MICROPYTHON_FILES:
        path = modules / "@micropython" / "micropython-webassembly-pyscript" / name
        files[f"vendor/micropython/{name}"] = _installed(path)
    return files


def protocol_module(root: Path) -> str:
    """`tympan.protocol` as a JavaScript module, with the sentences of the errors that JavaScript raises.

    LIBRARY is added: the path of the library's wheel in the site.
    """
    constants = {name: value for name, value in vars(protocol).items() if name.isupper()}
    constants["LIBRARY"] = library.wheel_name(root)
    constants["PAGE_ERRORS"] = {kind: _sentence(getattr(errors, kind)) for kind in protocol.PAGE_ERRORS}
    lines = [f"export const {name} = {json.dumps(value, ensure_ascii=False)};" for name, value in constants.items()]
    return "\n".join(["// Written by cli/site_files.py from app/tympan/protocol.py.", *lines, ""])


def _sentence(kind: type[errors.TympanError]) -> str:
    """The sentence of an error, with its fields in braces."""
    return str(kind(**{name: f"{{{name}}}" for name in signature(kind).parameters}))


def _with_library(path: Path, root: Path) -> bytes:
    """A file with the name of the library's wheel in place of `{library}`."""
    return path.read_text("utf-8").replace("{library}", library.wheel_name(root)).encode()


def _list(site: Mapping[str, Path | bytes]) -> bytes:
    """The script that lists the files of the site for the service worker, without itself and the service worker.

    The SHA-256 has the form of the option `integrity` of `fetch`.
    """
    digests = {}
    for name, content in sorted(site.items()):
        if name != SERVICE_WORKER:
            digest = hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).digest()
            digests[name] = f"sha256-{b64encode(digest).decode()}"
    return f"const FILES = {json.dumps(digests, indent=2)};\n".encode()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _installed(path: Path) -> Path:
    if not path.exists():
        raise CommandError(f"{path} is missing. Run ./serve to install it.")
    return path
