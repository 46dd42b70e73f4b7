"""The README keeps its form, and the links and commands in the documents exist."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import struct
import tomllib
from pathlib import Path

import pytest

from bench.record import COMMANDS
from tympan.cli import main as command_line

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_WORDS = 900
SECTIONS = [
    "Quick start",
    "What works, and what has been verified",
    "Embed in five lines",
    "Command line",
    "Models",
    "Browser support",
    "Performance",
    "Documentation",
]
REQUIRED = {"architecture", "performance", "exactness", "models", "authors", "testing", "contributing"}


def commands(text: str) -> list[list[str]]:
    """The arguments of every `tympan ...` in the shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line and line[0].endswith("tympan")]


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short_and_its_sections_are_in_order() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= MOST_WORDS
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS


def test_readme_states_early_that_the_released_weights_have_not_been_run() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "released weights have not been run here" in text[: text.index("## Embed")]


def test_readme_has_one_screenshot_of_a_desktop() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (image,) = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
    assert text.index(image) < text.index("## Quick start")
    width, height = struct.unpack(">II", (ROOT / image).read_bytes()[16:24])
    assert width > height


def test_all_documents_exist() -> None:
    assert {path.stem for path in DOCUMENTS} >= REQUIRED


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]*)\)", document.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def test_every_document_in_docs_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in text]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    for arguments in commands(document.read_text("utf-8")):
        parser = subcommands(command_line._parser())[arguments[0]]
        if arguments[0] == "bench":
            parser = subcommands(parser)[arguments[1]]
        known = {option for action in parser._actions for option in action.option_strings}
        assert {part for part in arguments if part.startswith("--")} <= known, arguments


def test_recorded_benches_parse() -> None:
    for arguments in COMMANDS.values():
        assert command_line._parser().parse_args(["bench", *arguments.split(), "--json"]).json


def test_changelog_has_the_version_and_unreleased() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings


def test_the_documented_versions_are_those_of_the_lock_files() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| (Pyodide|PyScript|MicroPython|numpy)[^|]*\| ([^ ]+) \|", text, re.MULTILINE))
    packages = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]
    (wheel,) = (ROOT / ".cache" / "pyodide").glob("numpy-*.whl")
    assert documented == {
        "Pyodide": packages["pyodide"],
        "PyScript": packages["@pyscript/core"],
        "MicroPython": packages["@micropython/micropython-webassembly-pyscript"],
        "numpy": wheel.name.split("-")[1],
    }
    authors = (ROOT / "docs" / "authors.md").read_text("utf-8")
    assert re.findall(r'^interpreter = "([^"]*)"', authors, re.MULTILINE) == [packages["pyodide"]]
