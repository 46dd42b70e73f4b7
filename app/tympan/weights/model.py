"""Reads a model from wherever it is, and believes no byte that nobody vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.weights import gguf
from tympan.weights.file import File, InMemory
from tympan.weights.gguf import GgufFile
from tympan.weights.manifest import MANIFEST_NAME, Manifest, ModelFile, Role
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.progress import Progress
from tympan.weights.safetensors import SafetensorsFile, Tensor


class Source(Protocol):
    """Where a model is: a folder, or an address on the web."""

    async def manifest(self) -> Manifest:
        """What the model is made of. Raises UnknownModel where there is none, another ModelError where it is bad."""
        ...

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """One of its files, whole and checked.

        progress: told of its bytes as they come. Raises CorruptFile, or another ModelError where it cannot be had.
        """
        ...

    def release(self) -> None:
        """The model has been read; little will be read again."""
        ...


@dataclass(frozen=True)
class ModelFiles:
    """A model's files, checked. Each tensor is read when it is asked for, in the dtype it is stored in."""

    manifest: Manifest
    lm: Mapping[str, Tensor]  # official names; a matrix W in Q4 is the pair W.q4, W.scale
    mimi: Mapping[str, Tensor]  # the encoder alone, official names
    tokenizer: bytes  # a SentencePiece model


def quiet(progress: Progress) -> None:
    """Report to nobody."""


async def read_model(source: Source, on_progress: Callable[[Progress], None] = quiet) -> ModelFiles:
    """Fetch and check all files of a model.

    on_progress: called as the files come, and later as tensors are read from them.
    Raises BadModel, CorruptFile with the name of the file, and what `source` raises.
    """
    manifest = await source.manifest()
    progress = Progress("download", manifest.n_bytes, on_progress)
    files: dict[Role, list[tuple[str, File]]] = {"tokenizer": [], "mimi": [], "lm": []}
    for role, opened in files.items():
        for file in manifest.files_of(role):
            opened.append((file.path, await source.open(file, progress)))

    progress = Progress("prepare", manifest.n_bytes, on_progress)
    [(_, tokenizer)] = files["tokenizer"]
    mimi, lm = (_Merged([(path, _Counted(file, progress)) for path, file in files[role]]) for role in ("mimi", "lm"))
    return ModelFiles(manifest, lm, EncoderTensors(mimi, manifest.mimi_config), _content(tokenizer))


def open_tensors(file: File, path: str) -> SafetensorsFile | GgufFile:
    """The tensors of a file of either format. path: its name in messages. Raises BadModel when it is of none."""
    is_gguf = file.n_bytes >= len(gguf.MAGIC) and file.read(0, len(gguf.MAGIC)).tobytes() == gguf.MAGIC
    return GgufFile(file, path) if is_gguf else SafetensorsFile(file, path)


def _content(file: File) -> bytes:
    return file.read(0, file.n_bytes).tobytes()


class _Merged(Mapping[str, Tensor]):
    """The tensors of several files. Raises BadModel when two hold one of the same name."""

    def __init__(self, files: Sequence[tuple[str, File]]) -> None:
        self._tensors: dict[str, SafetensorsFile | GgufFile] = {}
        for path, file in files:
            tensors = open_tensors(file, path)
            for name in tensors:
                if name in self._tensors:
                    raise BadModel(f"the tensor {name} is in {path} and in a file before it")
                self._tensors[name] = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name][name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape(name)

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _Counted:
    """A `File` that reports what is read of it."""

    def __init__(self, file: File, progress: Progress) -> None:
        self._file, self._progress = file, progress

    @property
    def n_bytes(self) -> int:
        return self._file.n_bytes

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        content = self._file.read(offset, n_bytes)
        self._progress.add(n_bytes)
        return content


class Folder:
    """A model directory on this machine; a `Source`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def manifest(self) -> Manifest:
        """Read `model.json`, as `Source` says."""
        try:
            return Manifest.parse((self.folder / MANIFEST_NAME).read_bytes())
        except OSError as error:
            raise UnknownModel(str(self.folder)) from error

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Map one file into memory and check it, as `Source` says."""
        try:
            stored = InMemory.mapped(self.folder / file.path)
        except FileNotFoundError as error:
            raise CorruptFile(file.path, "it is missing") from error
        except OSError as error:
            raise CorruptFile(file.path, f"it cannot be read ({error})") from error
        if stored.n_bytes != file.n_bytes:
            raise CorruptFile(file.path, f"it has {stored.n_bytes} bytes, {file.n_bytes} expected")
        if hashlib.sha256(stored.read(0, file.n_bytes).data).hexdigest() != file.sha256:
            raise CorruptFile(file.path, f"its sha256 is not the one in {MANIFEST_NAME}")
        progress.add(file.n_bytes)
        return stored

    def release(self) -> None:
        """Nothing is held."""
