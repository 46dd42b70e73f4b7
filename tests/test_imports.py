"""Packages do not import those above them, and every module is imported by one name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("cli", "quantize")  # folders at the top that are imported as `tympan.cli` and `tympan.quantize`
ABOVE_THE_LIBRARY = {"bench", "tympan.cli", "tympan.quantize", "tests", "train"}


def modules(folder: str) -> list[Path]:
    """The modules in a folder, without those behind the links in app/tympan."""
    found = sorted((ROOT / folder).rglob("*.py"))
    linked = [ROOT / "app" / "tympan" / name for name in LINKS]
    return [path for path in found if not any(path.is_relative_to(link) for link in linked)]


def imported_packages(path: Path) -> Iterator[str]:
    """The packages that a module imports anywhere, in functions too: `tympan.cli`, and otherwise the top-level name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for top, *rest in (name.split(".") for name in names):
            yield f"tympan.{rest[0]}" if top == "tympan" and rest and rest[0] in LINKS else top


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("app", ABOVE_THE_LIBRARY),
        ("cli", {"tests", "train"}),
        ("quantize", {"bench", "tympan.cli", "tests", "train"}),
    ],
)
def test_packages_do_not_import_those_above_them(folder: str, forbidden: set[str]) -> None:
    assert modules(folder)
    found = {f"{path.relative_to(ROOT)}: {name}" for path in modules(folder) for name in imported_packages(path)}
    assert not [line for line in found if line.split(": ")[1] in forbidden]


def test_only_the_benchmarks_of_the_command_line_import_bench() -> None:
    """The wheel contains cli/, but not bench/."""
    assert {path.name for path in modules("cli") if "bench" in imported_packages(path)} == {"benchmarks.py"}


@pytest.mark.parametrize("name", LINKS)
def test_linked_packages_have_one_name(name: str) -> None:
    link = ROOT / "app" / "tympan" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name
    folders = ("app", "bench", "cli", "quantize", "tests", "train")
    assert not [path for folder in folders for path in modules(folder) if name in imported_packages(path)]


def test_no_patch_names_a_linked_package_by_its_folder() -> None:
    """Patching `cli.site` by a string would import a second copy of the package, and leave the first as it is."""
    patterns = [f'setattr("{name}.' for name in LINKS]
    paths = [path for path in modules("tests") if path != Path(__file__)]
    assert not [path for path in paths if any(pattern in path.read_text("utf-8") for pattern in patterns)]


def test_the_page_fetches_every_module_of_its_thread() -> None:
    """MicroPython imports only the files that static/page.toml names."""
    named = (ROOT / "static" / "page.toml").read_text("utf-8")
    for path in sorted((ROOT / "app" / "tympan" / "browser").glob("*.py")):
        assert f'"./app/tympan/browser/{path.name}" = ' in named or path.name == "__init__.py", path.name


def test_the_library_uses_only_the_part_of_numpy_that_is_imported_with_it() -> None:
    """The engine worker has what the snapshot has imported, `numpy` and `numpy.typing`, and no files of the rest."""
    rest = {"char", "ctypeslib", "f2py", "fft", "ma", "polynomial", "random", "rec", "testing"}
    for path in modules("app"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
                assert node.attr not in rest, f"{path.relative_to(ROOT)}: np.{node.attr}"
            if isinstance(node, ast.Import):
                assert all(a.name == "numpy" for a in node.names if a.name.startswith("numpy")), path
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numpy"):
                assert node.module == "numpy.typing", path
