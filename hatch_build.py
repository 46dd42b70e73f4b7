"""Adds to wheel and sdist what the package needs besides its modules, so that installing runs no build step.

The wheel gets the built site and the shaders. The sdist gets the files of the site that set-up downloads, and the
snapshot of Pyodide, so that a wheel can be built from it without Node.js. An editable installation uses the files of
the checkout.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface[Any]):
    """The build hook of pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add files to `build_data`. version: "editable" or "standard" for wheels."""
        if version == "editable":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root / "app"))
        from tympan.cli.site import build
        from tympan.cli.site_files import vendored_files
        from tympan.cli.snapshot import compared_files

        if self.target_name == "sdist":
            for path in [*vendored_files(root).values(), *compared_files(root)]:
                build_data["force_include"][str(path)] = path.relative_to(root).as_posix()
            return
        self._site = tempfile.mkdtemp()
        build(Path(self._site), root)
        build_data["force_include"][self._site] = "tympan/site"
        build_data["force_include"][str(root / "shaders")] = "tympan/shaders"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the site that was built for the wheel."""
        if hasattr(self, "_site"):
            shutil.rmtree(self._site)
