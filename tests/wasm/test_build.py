"""The committed side modules are what the C sources say."""

from __future__ import annotations

import json
from pathlib import Path

from tympan.wasm.build import FOLDER, LOCK, build, compiler_version, hashes


def test_the_modules_are_those_of_the_source(tmp_path: Path) -> None:
    """Hashes always; where the same compiler is at hand, also that it makes the same bytes again."""
    lock = json.loads(LOCK.read_text())
    compiler = lock.pop("compiler")
    assert hashes(FOLDER) == lock, "a C source was changed without python -m tympan.wasm.build"
    if compiler_version() == compiler:
        build(tmp_path)
        assert hashes(tmp_path) == lock
