"""Finds a browser's program on this machine.

Uses the standard library only, because bootstrap.py imports it before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tympan.cli.errors import CommandError


def find(
    title: str, names: Sequence[str], places: Mapping[str, Sequence[str]], variable: str = "", package: str = ""
) -> Path:
    """Return the path of a program: that of an environment variable if set, else the first name on the PATH or place.

    title: what the program is called in messages. places: where macOS and Windows install it, which is not on the PATH
    there, by `sys.platform`; a leading variable is replaced. variable: the name of the environment variable.
    package: the Debian package that has it.

    Raises CommandError, naming what to install, when there is none.
    """
    named = os.environ.get(variable) if variable else None
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise CommandError(f"{variable} is set to {named}, which is not an executable file.")
        return Path(named)
    for name in names:
        path = shutil.which(name)
        if path:
            return Path(path)
    for place in places.get(sys.platform, ()):
        program = Path(os.path.expandvars(place))
        if program.is_file():
            return program
    install = f" (on Debian: apt-get install {package})" if package else ""
    hint = f", or set {variable} to its path" if variable else ""
    raise CommandError(f"No {title} was found. Install one{install}{hint}.")
