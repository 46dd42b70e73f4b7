"""Compiles the C sources into the two committed side modules and writes the lock file.

    python -m tympan.wasm.build

The same compiler version produces identical bytes, which a test checks. Run this after every change of a C source; it
needs clang 19 and lld 19 (Debian packages clang-19 and lld-19). The lock file holds the compiler's version and the
SHA-256 of each source and each module.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from tympan.wasm.module import module_name

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent
SOURCES = ("mimi/mimi.c", "lm/simd/lm.c")  # relative to PACKAGE
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
    """Compile the module of every level into `folder`. Raises FileNotFoundError or CalledProcessError."""
    for level, flags in FLAGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            objects = [str(Path(scratch) / f"{Path(source).stem}.o") for source in SOURCES]
            for source, target in zip(SOURCES, objects, strict=True):
                _run(COMPILER, *COMMON_FLAGS, *flags, "-I", str(FOLDER), "-c", source, "-o", target)
            module = folder.resolve() / module_name(level)
            _run(LINKER, *LINK_FLAGS, *objects, "-o", str(module))
            module.chmod(0o644)  # the linker makes it executable


def compiler_version() -> str:
    """The compiler's version line, such as "clang version 19.1.7". Raises FileNotFoundError if it is not installed."""
    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    return version.splitlines()[0]


def hashes(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, of the sources and of the modules in `folder`."""
    files = [*(PACKAGE / name for name in SOURCES + HEADERS), *(folder / module_name(level) for level in FLAGS)]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _run(*command: str) -> None:
    subprocess.run(command, cwd=PACKAGE, check=True)


if __name__ == "__main__":
    build(FOLDER)
    LOCK.write_text(json.dumps({"compiler": compiler_version(), **hashes(FOLDER)}, indent=2) + "\n")
