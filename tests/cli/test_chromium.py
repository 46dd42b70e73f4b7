"""Finding the browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tympan.cli import chromium, firefox
from tympan.cli.errors import CommandError


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
    monkeypatch.setattr(chromium, "PLACES", {})
    with pytest.raises(CommandError, match=r"^No Chromium, Chrome or Edge was found\. .*apt-get install chromium"):
        chromium.find()


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "microsoft-edge"])
def test_browsers_on_the_path_are_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).touch(mode=0o755)
    assert chromium.find() == tmp_path / name


def test_browsers_outside_of_the_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path))
    monkeypatch.setattr(chromium, "PLACES", {sys.platform: chromium.PLACES["win32"]})
    program = tmp_path / "Google" / "Chrome" / "Application" / "chrome.exe"
    program.parent.mkdir(parents=True)
    program.touch()
    assert chromium.find() == program


def test_one_brand_alone_is_found_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("chromium", "google-chrome"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(tmp_path / "chromium"))
    monkeypatch.setattr(chromium, "PLACES", {})
    assert chromium.find("chrome") == tmp_path / "google-chrome"
    with pytest.raises(CommandError, match=r"^No Edge was found\. Install one\.$"):
        chromium.find("edge")


def test_firefox_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(firefox.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(firefox, "PLACES", {})
    with pytest.raises(CommandError, match=r"^No Firefox was found\. .*apt-get install firefox-esr\), or set"):
        firefox.find()
    (tmp_path / "firefox").touch(mode=0o755)
    assert firefox.find() == tmp_path / "firefox"
