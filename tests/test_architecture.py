"""docs/architecture.md matches the repository: its tree, which modules use the browser, and the direction of imports.

The tree is the fenced block with a line `app/`. A line is a name and, two spaces or more away, a description; a line at
the margin with names only lists several. Two spaces of indentation are one folder. A folder that shows children has to
show all its Python modules and folders, except `__init__.py`.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
LIBRARY = ROOT / "app" / "tympan"

SHOWN_IN_FULL = {"app/", "app/tympan/", "app/tympan/lm/"}
BROWSER_MODULES = {"js", "pyodide", "pyodide_js", "pyscript", "polyscript"}
STAGES = ("resample", "mimi", "lm", "text")
ASSEMBLY = ("transcriber", "session", "transcript", "endpointing", "loading", "embed", "browser")
FORBIDDEN = {  # a part of the library -> the parts that it must not import
    **{stage: {*STAGES, *ASSEMBLY} - {stage} for stage in STAGES},
    **{part: {*STAGES, *ASSEMBLY, "gpu"} for part in ("weights", "arrays", "rope", "config", "errors")},
    "gpu": {*STAGES, *ASSEMBLY, "weights"},
    "transcriber": {"session", "endpointing", "loading", "embed", "browser"},
    "session": {"loading", "embed", "browser"},
    "embed": {"browser"},
    "browser": {"embed", "transcriber", "session", "loading", "mimi", "lm", "gpu", "weights"},
}


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def tree() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = (lines for lines in map(str.splitlines, blocks) if any(re.match(r"app/(\s|$)", line) for line in lines))
    return block


def shown_paths() -> Iterator[str]:
    """Every path that the tree names; a folder ends in a slash."""
    parents: list[str] = []
    for line in filter(str.strip, tree()):
        depth = (len(line) - len(line.lstrip())) // 2
        parts = re.split(r"\s{2,}", line.strip())
        is_list = depth == 0 and not parts[0].endswith("/") and all(" " not in part for part in parts)
        for name in parts if is_list else parts[:1]:
            yield "".join(parents[:depth]) + name
        if parts[0].endswith("/"):
            parents[depth:] = [parts[0]]


def children(folder: str) -> set[str]:
    """The tracked Python modules and folders directly in a folder, as paths like those of the tree."""
    names = set()
    for path in tracked():
        if path.startswith(folder):
            name, slash, _ = path.removeprefix(folder).partition("/")
            if slash or (name.endswith(".py") and name != "__init__.py"):
                names.add(f"{folder}{name}{slash}")
    return names


def imports(path: Path) -> Iterator[str]:
    """The modules that a module imports anywhere, in functions too; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """The part of the library: `mimi` of `tympan.mimi.encoder`."""
    names = module.split(".")
    return names[1] if names[0] == "tympan" and len(names) > 1 else ""


def browser_patterns() -> list[str]:
    """The list of modules in the document that may import the browser's modules."""
    section = DOCUMENT.read_text("utf-8").split("### Modules that import")[1].split("\n## ")[0]
    return re.findall(r"^- `(.*)`$", section, re.MULTILINE)


def test_everything_in_the_tree_exists() -> None:
    shown = list(shown_paths())
    assert len(shown) > 10
    missing = [
        path for path in shown if not ((ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file())
    ]
    assert not missing


def test_everything_at_the_top_is_in_the_tree() -> None:
    top = {path.split("/")[0] for path in tracked()}
    shown = {path.split("/")[0] for path in shown_paths()}
    assert {name for name in top if not name.startswith(".")} - shown == set()


def test_folders_that_show_children_show_all_of_them() -> None:
    shown = set(shown_paths())
    folders = {path for path in shown if path.endswith("/") and any(p != path and p.startswith(path) for p in shown)}
    assert folders >= SHOWN_IN_FULL
    assert {child for folder in folders for child in children(folder)} - shown == set()


def test_only_listed_modules_import_the_browser() -> None:
    patterns = browser_patterns()
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*.py")
        if any(module.split(".")[0] in BROWSER_MODULES for module in imports(path))
    }
    assert {path for path in found if not any(fnmatch(path, pattern) for pattern in patterns)} == set()
    assert [pattern for pattern in patterns if not any(fnmatch(path, pattern) for path in found)] == []


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_go_one_way(part: str) -> None:
    folder = LIBRARY / part
    modules = sorted(folder.rglob("*.py")) if folder.is_dir() else [LIBRARY / f"{part}.py"]
    assert modules
    found = {
        f"{path.relative_to(LIBRARY)} imports {module}"
        for path in modules
        for module in imports(path)
        if part_of(module) in FORBIDDEN[part]
    }
    assert found == set()
