"""What the engine starts from: a snapshot of Pyodide's memory with the library imported, and numpy's libraries.

Both are made in Node.js once per state of the sources, and kept in `.cache/start`.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from tympan.cli import library
from tympan.cli.errors import CommandError
from tympan.cli.locking import locked

SCRIPT = Path("tools", "pyodide_snapshot.mjs")
SUFFIXES = (".bin", ".json")
GZIP_LEVEL = 6  # level 9 takes four times as long for files that are 2 % smaller

_STAMP = ".made-from"  # the hash of what the files were made from


def snapshot_files(root: Path) -> list[Path]:
    """The files, made from the sources in `root` if they have changed. `.bin` files are compressed by gzip.

    Raises CommandError when Node.js or Pyodide's files are missing, or Pyodide cannot import the library.
    """
    folder, pyodide = root / ".cache" / "start", root / "node_modules" / "pyodide"
    numpy = next((root / ".cache" / "pyodide").glob("numpy-*.whl"), None)
    if numpy is None or not pyodide.exists():
        raise CommandError(f"{pyodide} or the wheel of numpy is missing. Run ./serve to install them.")
    wheel = library.wheel(root)
    sources = [wheel, *(path.read_bytes() for path in (root / SCRIPT, pyodide / "package.json", numpy))]
    stamp = hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).hexdigest()
    with locked(folder):
        if not (folder / _STAMP).exists() or (folder / _STAMP).read_text() != stamp:
            for path in folder.iterdir():
                path.unlink()
            _make(folder, root, numpy, wheel)
            (folder / _STAMP).write_text(stamp)
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def compared_files(root: Path) -> list[Path]:
    """Files besides the site's from which `snapshot_files` knows, without Node.js, that its files are current."""
    return [root / ".cache" / "start" / _STAMP, root / SCRIPT, root / "node_modules" / "pyodide" / "package.json"]


def _make(folder: Path, root: Path, numpy: Path, wheel: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        packages, packed, made = (Path(scratch) / name for name in ("packages", "library.whl", "made"))
        packages.mkdir()
        with zipfile.ZipFile(numpy) as archive:
            archive.extractall(packages)
        packed.write_bytes(wheel)
        inputs = (root / "node_modules" / "pyodide", packages, packed)
        try:
            done = subprocess.run(["node", root / SCRIPT, *inputs, made], capture_output=True, text=True)
        except FileNotFoundError:
            raise CommandError("Node.js is needed to build the site; there is no node on the PATH.") from None
        if done.returncode:
            # Node.js also prints the line of the failure, which is a megabyte of Pyodide's.
            reason = "\n".join(line for line in done.stderr.strip().splitlines() if len(line) < 1000)
            raise CommandError(f"Pyodide cannot import the library in Node.js:\n{reason}")
        for path in made.iterdir():
            if path.suffix == ".bin":
                (folder / path.name).write_bytes(gzip.compress(path.read_bytes(), GZIP_LEVEL, mtime=0))
            else:
                shutil.copyfile(path, folder / path.name)
