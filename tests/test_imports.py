"""The library depends on no other package of this repository."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ABOVE_THE_LIBRARY = {"bench", "cli", "quantize", "tests", "train"}


def imported_packages(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("app", ABOVE_THE_LIBRARY), ("cli", {"tests", "train"}), ("quantize", {"bench", "cli", "tests", "train"})],
)
def test_packages_do_not_import_those_above_them(folder: str, forbidden: set[str]) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    found = {f"{path.relative_to(ROOT)}: {name}" for path in modules for name in imported_packages(path)}
    assert not [line for line in found if line.split(": ")[1] in forbidden]
