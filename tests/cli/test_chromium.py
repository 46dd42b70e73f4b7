from __future__ import annotations

from pathlib import Path

import pytest

from cli import chromium
from cli.errors import CommandError


def test_the_one_that_is_named_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my-chromium"
    program.touch(mode=0o755)
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(program))
    assert chromium.find() == program


def test_the_one_that_is_named_must_be_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(CommandError, match=f"^TYMPAN_CHROMIUM names {tmp_path}, which is not a program.$"):
        chromium.find()


def test_without_any_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="apt-get install chromium"):
        chromium.find()
