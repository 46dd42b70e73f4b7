"""The workflows pin what they download, and run commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tympan.cli import main as command_line

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    actions = re.findall(r"uses: (.*)", workflow.read_text("utf-8"))
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_programs_of_the_checkout_exist(workflow: Path) -> None:
    text = workflow.read_text("utf-8")
    programs = re.findall(r"run: (?:python3 )?((?:\./|tools/)?[\w]+(?:\.py)?)(?: |\n)", text)
    assert [name for name in programs if "/" in name or name.endswith(".py")]
    for name in programs:
        if "/" in name or name.endswith(".py"):
            assert (ROOT / name).is_file(), name


def test_pages_publishes_the_folder_that_build_writes() -> None:
    text = (ROOT / ".github" / "workflows" / "pages.yml").read_text("utf-8")
    assert "run: .venv/bin/tympan build\n" in text
    (folder,) = re.findall(r"path: (\w+)\n", text)
    assert command_line._parser().parse_args(["build"]).folder == ROOT / folder
