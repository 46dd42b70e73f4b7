"""The committed side modules equal the compiled C sources."""

from __future__ import annotations

import json
from pathlib import Path

from tympan.wasm.build import COMPILER, FOLDER, LOCK, build, compiler_version, hashes


def test_the_lock_file_matches_the_sources_and_the_modules() -> None:
    lock = json.loads(LOCK.read_text())
    del lock["compiler"]
    assert hashes(FOLDER) == lock, "a C source was changed without running python -m tympan.wasm.build"


def test_the_locked_compiler_rebuilds_the_same_bytes(tmp_path: Path) -> None:
    """Fails without the compiler. ./check installs it as root; otherwise install clang-19 and lld-19."""
    lock = json.loads(LOCK.read_text())
    assert compiler_version() == lock.pop("compiler"), f"{COMPILER} is not the version in {LOCK.name}"
    build(tmp_path)
    assert hashes(tmp_path) == lock
