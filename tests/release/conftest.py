"""The files of a release, built once per run, and a virtual environment in which its wheel is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tools.release_files import release
from tympan.cli.site import ENVIRONMENT_VARIABLE, ROOT
from tympan.cli.testing import built_once

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of a release of this checkout. Tests must not change it."""
    return built_once(tmp_path_factory, "release", lambda folder: release(folder, ROOT))


@pytest.fixture(scope="session")
def wheel(files: Path) -> Path:
    (path,) = files.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel; its dependencies are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "--no-input", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    # A path line makes the modules importable, without the .pth file of the editable installation of the checkout.
    (site_packages(folder) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder


@pytest.fixture
def run_installed(environment: Path, tmp_path: Path) -> Run:
    """`run_installed(*arguments)` runs the installed command in an empty folder, without Node.js and the checkout."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        removed = ("PYTHONPATH", ENVIRONMENT_VARIABLE)
        kept = {name: value for name, value in os.environ.items() if name not in removed}
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [environment / "bin" / "tympan", *map(str, arguments)],
            cwd=folder,
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
