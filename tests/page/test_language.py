"""The texts of the page: one table per language, and no text elsewhere."""

from __future__ import annotations

import ast
import inspect
import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

from tympan import errors
from tympan.browser.english import ENGLISH
from tympan.browser.french import FRENCH, FRENCH_SENTENCES
from tympan.reasons import REASONS

ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "static" / "index.html").read_text("utf-8")
TARGETS = {"data-label": "aria-label", "data-content": "content"}


def names(text: str) -> set[str]:
    """The {names} in a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_languages_have_the_same_keys_and_placeholders() -> None:
    assert list(ENGLISH) == list(FRENCH)
    assert {key: names(text) for key, text in ENGLISH.items()} == {key: names(text) for key, text in FRENCH.items()}
    same = {key for key in ENGLISH if ENGLISH[key] == FRENCH[key]}
    assert same <= {"sources", "sessions", "seconds", "minutes", "minutes_seconds", "milliseconds", "microphone_name",
                    "kernels_simd", "kernels_numpy", "kernels_webgpu", "transcript"}, same  # fmt: skip


def test_errors_and_reasons_are_translated_with_their_fields() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and "__init__" in vars(kind)}
    assert set(FRENCH_SENTENCES) == set(kinds) | set(REASONS) | {"Bug"}
    for name, kind in kinds.items():
        fields = set(inspect.signature(kind).parameters)
        assert names(FRENCH_SENTENCES[name]) <= fields, name
    for name, reason in REASONS.items():
        assert names(FRENCH_SENTENCES[name]) == names(reason), name


class Texts(HTMLParser):
    """Collects the texts of index.html with their keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keyed: list[tuple[str, str]] = []
        self.loose: list[str] = []
        self._stack: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        for source, target in TARGETS.items():
            if source in found:
                self.keyed.append((found[source] or "", found[target] or ""))
        assert ("aria-label" in found) == ("data-label" in found), found
        if tag not in ("meta", "link", "img", "input"):
            self._stack.append(tag if tag in ("title", "h1", "noscript", "style") else found.get("data-text"))

    def handle_endtag(self, tag: str) -> None:
        self._stack.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            key = self._stack[-1] if self._stack else None
            if key in ENGLISH:
                self.keyed.append((key, data))
            elif key not in ("title", "h1") and "noscript" not in self._stack:
                self.loose.append(data)


def test_index_html_matches_the_english_table() -> None:
    texts = Texts()
    texts.feed(INDEX)
    assert [(key, text) for key, text in texts.keyed if ENGLISH[key] != text] == []
    assert len(texts.keyed) > 20
    assert set(texts.loose) == {"TXT", "SRT", "VTT", "JSON"}


def test_main_holds_no_texts() -> None:
    """main.py refers to texts by key. A text has a space before a letter or starts with a capital."""
    tree = ast.parse((ROOT / "app" / "main.py").read_text("utf-8"))
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}  # fmt: skip
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in strings if text not in docstrings and re.search(r" \w|^[A-Z]", text)] == []


def test_every_text_is_used() -> None:
    sources = INDEX + "".join(path.read_text("utf-8") for path in (ROOT / "app").rglob("*.py")
                              if path.name not in ("english.py", "french.py"))  # fmt: skip
    unused = {key for key in ENGLISH if f'"{key}"' not in sources and not key.startswith("kernels_")}
    assert unused == set()
