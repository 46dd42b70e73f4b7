"""The built site: every file the page fetches, in one folder that any static host can serve.

In a checkout it is built from the sources; an installed wheel contains it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import tympan
from tympan.cli.errors import CommandError
from tympan.cli.locking import locked
from tympan.cli.site_files import SERVICE_WORKER, SITE_LIST, Files, site_files

PACKAGE = Path(tympan.__file__).resolve().parent
INSTALLED = PACKAGE / "site"  # exists in an installed wheel only
ROOT = PACKAGE.parents[1]  # of a checkout
DIST = ROOT / "dist"
ENVIRONMENT_VARIABLE = "TYMPAN_SITE"


def is_installed() -> bool:
    """Whether this is an installed wheel, not a checkout."""
    return INSTALLED.is_dir()


def is_site(folder: Path) -> bool:
    """Whether a folder has a built site."""
    return (folder / SITE_LIST).is_file()


def prepare() -> Path:
    """Return a folder with a built site.

    It is the one that $TYMPAN_SITE names, unchanged; or else that of the installed wheel; or else `dist/` of the
    checkout, built now.

    Raises CommandError when $TYMPAN_SITE names no built site, or a vendored file is not installed.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        if is_installed():
            return INSTALLED
        build(DIST)
        return DIST
    if not is_site(Path(named)):
        raise CommandError(f"{ENVIRONMENT_VARIABLE} is set to {named}, which is not a built site.")
    return Path(named)


def build(dist: Path, root: Path = ROOT) -> None:
    """Build the site of the sources in `root` into the folder `dist`. An installed wheel copies its site instead.

    Unchanged files keep their modification time, so that browsers keep their cached copies. Other files in `dist`
    are deleted. Builds into the same folder wait for each other, and each file is replaced in one step, so that a
    server never sends half of one.

    Raises CommandError when a vendored file is not installed.
    """
    site = _installed_files() if is_installed() else site_files(root)
    with locked(dist):
        for name, content in site.items():
            _write(dist / name, content)
        for path in sorted(dist.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(dist).as_posix() not in site:
                path.unlink()


def _installed_files() -> Files:
    """The files of the wheel's site, without what an installer added, such as compiled modules."""
    text = (INSTALLED / SITE_LIST).read_text("utf-8")
    names = [*json.loads(text[text.index("{") : text.rindex("}") + 1]), SERVICE_WORKER, SITE_LIST]
    return {name: INSTALLED / name for name in names}


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
