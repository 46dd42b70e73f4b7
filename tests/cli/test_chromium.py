"""Finding the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import chromium
from cli.errors import CommandError


def test_the_environment_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my-chromium"
    program.touch(mode=0o755)
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(program))
    assert chromium.find() == program


def test_the_environment_variable_must_name_an_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(CommandError, match=f"^TYMPAN_CHROMIUM is set to {tmp_path}, which is not an executable file.$"):
        chromium.find()


def test_a_missing_browser_is_reported_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="apt-get install chromium"):
        chromium.find()
