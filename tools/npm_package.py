"""The npm package: the built site with a module that loads its scripts, and types."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tympan.cli.errors import CommandError
from tympan.cli.library import version
from tympan.cli.site import build

OWN_FILES = ("README.md", "*.js", "*.d.ts")  # of npm/; package.json gets the version


def stage(folder: Path, root: Path) -> None:
    """Write the files of the package into a folder. Raises CommandError when a vendored file is not installed."""
    build(folder, root)
    for pattern in OWN_FILES:
        for path in (root / "npm").glob(pattern):
            shutil.copyfile(path, folder / path.name)
    readme = folder / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("VERSION", version(root)), "utf-8")
    shutil.copyfile(root / "LICENSE", folder / "LICENSE")
    description = json.loads((root / "npm" / "package.json").read_text("utf-8"))
    ordered = {"name": description.pop("name"), "version": version(root), **description}
    (folder / "package.json").write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")


def pack(folder: Path, into: Path) -> Path:
    """Pack a folder with npm, which gives the same bytes for the same files. Returns the path of the tarball."""
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(into), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=into)
    if done.returncode:
        raise CommandError(f"npm cannot pack {folder}: {done.stderr.strip().splitlines()[-1:]}")
    return into / done.stdout.strip().splitlines()[-1]
