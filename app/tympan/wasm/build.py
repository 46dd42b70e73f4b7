"""Compiles the C sources into the two side modules that stand beside them, and locks what they were made of.

    python -m tympan.wasm.build

The same compiler gives the same bytes. The modules are committed, so that only a change of the C sources needs clang.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tympan.wasm.module import module_name

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent
SOURCES = ("mimi/mimi.c", "lm/simd/lm.c")  # below PACKAGE
HEADERS = ("wasm/rows.h", "wasm/vector.h")
LOCK = FOLDER / "kernels.lock.json"

COMPILER, LINKER = "clang-19", "wasm-ld-19"
FLAGS = {"relaxed": ("-msimd128", "-mrelaxed-simd"), "simd": ("-msimd128",)}  # by level
COMMON_FLAGS = (
    "--target=wasm32-unknown-emscripten", "-std=c17", "-fPIC", "-O3", "-fno-math-errno", "-ffreestanding", "-nostdlib",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
LINK_FLAGS = ("--experimental-pic", "-shared", "--no-entry", "--strip-all")


def build(folder: Path) -> None:
    """Compile every level's module into `folder`. Raises FileNotFoundError or CalledProcessError."""
    for level, flags in FLAGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            compiled = [str(Path(scratch) / f"{Path(source).stem}.o") for source in SOURCES]
            for source, target in zip(SOURCES, compiled, strict=True):
                _run(COMPILER, *COMMON_FLAGS, *flags, "-I", str(FOLDER), "-c", source, "-o", target)
            _run(LINKER, *LINK_FLAGS, *compiled, "-o", str(folder.resolve() / module_name(level)))


def compiler_version() -> str | None:
    """The first line of what the compiler says of itself, such as "clang version 19.1.7"; None where there is none."""
    if shutil.which(COMPILER) is None or shutil.which(LINKER) is None:
        return None
    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    return version.splitlines()[0]


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of the sources and of each module in `folder`, by name."""
    files = [*(PACKAGE / name for name in SOURCES + HEADERS), *(folder / module_name(level) for level in FLAGS)]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _run(*command: str) -> None:
    subprocess.run(command, cwd=PACKAGE, check=True)


if __name__ == "__main__":
    build(FOLDER)
    LOCK.write_text(json.dumps({"compiler": compiler_version(), **hashes(FOLDER)}, indent=2) + "\n")
