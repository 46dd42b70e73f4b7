"""The files of a release."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tools.release_files import notes, release
from tympan.cli.errors import CommandError
from tympan.cli.library import version
from tympan.cli.site import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the checkout with other modes and times of its files."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        target = tmp_path / "copy" / name
        if (ROOT / name).exists() and not name.startswith(("tests/", "bench/", "train/")):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target, follow_symlinks=False)
            if not target.is_symlink():
                target.chmod(0o600)
    for name in ("node_modules", ".cache"):
        (tmp_path / "copy" / name).symlink_to(ROOT / name)
    return tmp_path / "copy"


def test_a_release_has_all_files_and_their_checksums(files: Path) -> None:
    number = version(ROOT)
    expected = {
        f"tympan-{number}-py3-none-any.whl",
        f"tympan-{number}.tar.gz",
        f"tympan-{number}.tgz",
        f"tympan-site-{number}.zip",
        "sbom.cdx.json",
        "NOTES.md",
    }
    lines = [line.split("  ") for line in (files / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert set(sums) == expected
    assert {path.name for path in files.iterdir()} == {*expected, "SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((files / name).read_bytes()).hexdigest() == digest


def test_the_same_sources_give_the_same_bytes(files: Path, copy: Path, tmp_path: Path) -> None:
    assert release(tmp_path / "again", copy) == (files / "SHA256SUMS").read_text()


def test_the_archive_of_the_site_has_its_files(files: Path, tympan_site: Path) -> None:
    with zipfile.ZipFile(files / f"tympan-site-{version(ROOT)}.zip") as archive:
        names = set(archive.namelist())
    assert names == {path.relative_to(tympan_site).as_posix() for path in tympan_site.rglob("*") if path.is_file()}


def test_the_version_is_in_one_place() -> None:
    """pyproject.toml; no other file in which a package manager looks for it."""
    for name in ("package.json", "npm/package.json"):
        assert '"version"' not in (ROOT / name).read_text("utf-8"), name


def test_notes_are_the_section_of_the_version() -> None:
    changelog = "# Changelog\n\n## [Unreleased]\n\n- New\n\n## [1.2.0] - 2026-01-01\n\n- Old\n\n## 1.1.0\n\n- Older\n"
    assert notes(changelog, "1.2.0") == "- Old\n"
    assert notes(changelog, "1.1.0") == "- Older\n"
    with pytest.raises(CommandError, match=r"^CHANGELOG\.md has no section for 2\.0\.0$"):
        notes(changelog, "2.0.0")


def test_other_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match=r"is not empty$"):
        release(tmp_path, ROOT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
