"""Composes WGSL modules from files that include each other, and maps their lines back to these files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tympan

SUFFIX = ".wgsl"

_INCLUDE = re.compile(r'\s*#include\s+"([^"]+)"\s*')


class ShaderError(Exception):
    """A shader cannot be composed: a file is missing, includes itself, or needs a variable that was not given."""


class Origin(NamedTuple):
    """Where a line of a composed shader was written."""

    file: str
    line: int  # counted from 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Shader:
    """A composed WGSL module."""

    name: str
    lines: tuple[str, ...]
    origins: tuple[Origin, ...]  # of each line

    @classmethod
    def from_text(cls, name: str, text: str) -> Shader:
        """A shader that includes nothing; its lines are reported as lines of `name`."""
        lines = tuple(text.splitlines())
        return cls(name, lines, tuple(Origin(name, i) for i in range(1, len(lines) + 1)))

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def annotated(self) -> str:
        """The text with the origin of each line as a comment at its end, which is valid WGSL too."""
        width = max(map(len, self.lines))
        return "".join(f"{line:{width}}  // {origin}\n" for line, origin in zip(self.lines, self.origins, strict=True))

    def origin_of(self, line: int) -> Origin | None:
        """Where a line of the text, counted from 1, was written; None outside of the text."""
        return self.origins[line - 1] if 1 <= line <= len(self.origins) else None


def compose(name: str, variables: Mapping[str, str] | None = None, folder: Path | None = None) -> Shader:
    """Compose the shader `<name>.wgsl`.

    A line `#include "rows.wgsl"` is replaced by the lines of that file, unless the file was included before. In
    `#include "matrix_{format}.wgsl"` the variable is replaced first.

    variables: name -> value. folder: of the files; the library's shaders by default.
    Raises ShaderError, which names the file and line.
    """
    composer = _Composer(folder or shader_folder(), variables or {})
    lines = list(composer.include(f"{name}{SUFFIX}", includers=()))
    return Shader(name, tuple(line for line, _ in lines), tuple(origin for _, origin in lines))


def read_shader(folder: Path, file: str) -> str:
    """The text of one file."""
    return (folder / file).read_text(encoding="utf-8")


def shader_folder() -> Path:
    """The folder of the library's shaders: inside the package in a page, in the repository otherwise."""
    package = Path(tympan.__file__).parent
    folder = package / "shaders"
    return folder if folder.is_dir() else package.parents[1] / "shaders"


class _Composer:
    """Includes each file once."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder, self._variables = folder, variables
        self._included: set[str] = set()

    def include(self, file: str, includers: tuple[Origin, ...]) -> Iterator[tuple[str, Origin]]:
        """The lines of a file with those that it includes. includers: the include lines that led here."""
        if any(includer.file == file for includer in includers):
            chain = " -> ".join([*(includer.file for includer in includers), file])
            raise ShaderError(f"{includers[-1]}: {file} includes itself: {chain}")
        if file in self._included:
            return
        self._included.add(file)
        for number, line in enumerate(self._read(file, includers).splitlines(), start=1):
            origin = Origin(file, number)
            if match := _INCLUDE.fullmatch(line):
                yield from self.include(self._resolve(match[1], origin), (*includers, origin))
            elif line.lstrip().startswith("#"):
                raise ShaderError(f'{origin}: expected #include "FILE", found: {line.strip()}')
            else:
                yield line, origin

    def _resolve(self, file: str, origin: Origin) -> str:
        try:
            return file.format_map(self._variables)
        except KeyError as error:
            raise ShaderError(f"{origin}: no value was given for the variable {error} of {file}") from error

    def _read(self, file: str, includers: tuple[Origin, ...]) -> str:
        try:
            return read_shader(self._folder, file)
        except FileNotFoundError as error:
            place = f"{includers[-1]}: " if includers else ""
            known = ", ".join(sorted(path.name for path in self._folder.glob(f"*{SUFFIX}")))
            raise ShaderError(f"{place}there is no shader {file}; there are: {known}") from error
