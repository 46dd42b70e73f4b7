"""The README's tree is the real tree.

The tree is the fenced block that holds a line `app/`. A line of it is a name and, two spaces or more away, what it is;
a line at the margin that is nothing but names lists several. Two spaces more of indent are one folder deeper.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tree() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (block,) = (lines for lines in map(str.splitlines, blocks) if any(re.match(r"app/(\s|$)", line) for line in lines))
    return block


def paths() -> Iterator[str]:
    """Every path the tree names; a folder ends in a slash."""
    parents: list[str] = []
    for line in filter(str.strip, tree()):
        depth = (len(line) - len(line.lstrip())) // 2
        parts = re.split(r"\s{2,}", line.strip())
        listed = depth == 0 and not parts[0].endswith("/") and all(" " not in part for part in parts)
        for name in parts if listed else parts[:1]:
            yield "".join(parents[:depth]) + name
        if parts[0].endswith("/"):
            parents[depth:] = [parts[0]]


def test_all_that_is_drawn_exists() -> None:
    drawn = list(paths())
    assert len(drawn) > 10
    for path in drawn:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), f"{path} is not there"


def test_all_that_stands_at_the_top_is_drawn() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {path.split("/")[0] for path in tracked.splitlines()}
    drawn = {path.split("/")[0] for path in paths()}
    assert {name for name in top if not name.startswith(".")} - drawn == set()
