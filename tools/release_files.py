"""Builds the files of a release: the same sources give the same bytes.

tympan-VERSION-py3-none-any.whl   for PyPI: library, command line, site, demo model
tympan-VERSION.tar.gz             for PyPI: the sources of the wheel, with the files of the site that set-up downloads
tympan-VERSION.tgz                for npm
tympan-site-VERSION.zip           the site, to be unpacked on any static host
sbom.cdx.json                     what the site contains of others, with licences and hashes
NOTES.md                          the section of CHANGELOG.md
SHA256SUMS                        of all of these
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.npm_package import pack, stage
from tympan.cli import sbom
from tympan.cli.errors import CommandError
from tympan.cli.library import version, zipped
from tympan.cli.site import ROOT, build

SUMS = "SHA256SUMS"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/release", description="Build the files of a release.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=ROOT / "release")
    parser.add_argument("--check", action="store_true", help="build twice, and fail if any byte differs")
    options = parser.parse_args()
    try:
        sums = release(options.folder, ROOT)
        if options.check:
            with tempfile.TemporaryDirectory() as folder:
                if release(Path(folder), ROOT) != sums:
                    raise CommandError("the two builds differ")
        print(sums, end="")
    except CommandError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def release(folder: Path, root: Path) -> str:
    """Build all files into an empty or new folder. Returns the text of SHA256SUMS.

    Raises CommandError when the folder has other files, the changelog has no section for the version, or a build fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CommandError(f"{folder} is not empty")
    number = version(root)
    (folder / "NOTES.md").write_text(notes((root / "CHANGELOG.md").read_text("utf-8"), number), "utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder.resolve())]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"hatchling failed: {done.stderr.strip()}")
    with tempfile.TemporaryDirectory() as temporary:
        site, package = Path(temporary) / "site", Path(temporary) / "package"
        build(site, root)
        (folder / f"tympan-site-{number}.zip").write_bytes(zipped(_members(site)))
        (folder / sbom.NAME).write_bytes((site / sbom.NAME).read_bytes())
        stage(package, root)
        pack(package, folder.resolve())
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / SUMS).write_text(sums)
    return sums


def notes(changelog: str, number: str) -> str:
    """The section of the changelog for a version. Raises CommandError if there is none."""
    found = re.search(rf"^## \[?{re.escape(number)}\b.*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise CommandError(f"CHANGELOG.md has no section for {number}")
    return found[1].strip() + "\n"


def _members(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
