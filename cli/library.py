"""The wheel of the package `tympan` that the site serves: what a worker imports, and nothing else.

The wheel on PyPI contains the same modules, and besides them the command line and the whole site. Both install as
`tympan` of the same version; their file names differ in the build number.
"""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

# Files of the package that no worker needs: the command line, the page thread, sources of the side modules.
LEFT_OUT = ("browser/*", "cli/*", "quantize/*", "wasm/build.py", "wasm/kernels.lock.json", "*.c", "*.h", "py.typed")

BUILD = "0library"  # a build number starts with a digit; installers prefer the wheel on PyPI, which has none

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest date of a zip; a fixed date makes the build reproducible
ZIP_MODE = 0o644 << 16


def version(root: Path) -> str:
    """The version of the sources in `root`, as pyproject.toml states it."""
    return str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def wheel_name(root: Path) -> str:
    """The file name of the wheel."""
    return f"tympan-{version(root)}-{BUILD}-py3-none-any.whl"


def wheel(root: Path) -> bytes:
    """Build the wheel of the sources in `root`. The same sources give the same bytes."""
    info = f"tympan-{version(root)}.dist-info"
    members = {name: path.read_bytes() for name, path in modules(root)}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: tympan\nVersion: {version(root)}\n".encode()
    tags = f"Build: {BUILD}\nTag: py3-none-any\n"
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tympan\nRoot-Is-Purelib: true\n{tags}".encode()
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD")
    return zipped(members)


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """The name in the wheel and the source of every file of the library."""
    package, shaders = root / "app" / "tympan", root / "shaders"
    for path in sorted(package.rglob("*")):  # which does not follow the links to cli/ and quantize/
        name = path.relative_to(package).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and not any(fnmatch(name, p) for p in LEFT_OUT):
            yield f"tympan/{name}", path
    for path in sorted(shaders.glob("*.wgsl")):
        yield f"tympan/shaders/{path.name}", path


def _record(members: Mapping[str, bytes], name: str) -> bytes:
    """The list of the members with their hashes, in the format of wheels."""
    lines = []
    for member, content in members.items():
        digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{member},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{name},,\n"]).encode()


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip of the members in their order. The same members give the same bytes."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ZIP_MODE
            archive.writestr(entry, content)
    return target.getvalue()
