"""Loads a model from a `Source` and verifies the size and SHA-256 of every file that has a published hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tympan.config import LMConfig
from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.weights import gguf
from tympan.weights.file import File, InMemory, join_parts
from tympan.weights.gguf import GgufFile
from tympan.weights.manifest import MANIFEST_NAME, Manifest, ModelFile, Role
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.progress import Progress, ignore_progress
from tympan.weights.safetensors import SafetensorsFile, Tensor

_N_TOGETHER = 2  # one file is downloaded while the browser hashes the one before it


class Source(Protocol):
    """Where a model is stored: a folder, or a URL."""

    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """Return the manifest. A checkpoint is converted first; on_progress is called meanwhile.

        Raises UnknownModel if there is no model, NotEnoughMemory if it is too large for the device, another ModelError
        if the manifest is bad.
        """
        ...

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Open one of its files, complete and verified.

        progress: counts the bytes. Raises CorruptFile, or another ModelError if the file is not available.
        """
        ...

    def release(self) -> None:
        """Release exclusive file handles once the model has been read; later reads still work, but slower."""
        ...


@dataclass(frozen=True)
class ModelFiles:
    """A model's verified files. Each tensor is read on access, in its stored dtype."""

    manifest: Manifest
    lm: Mapping[str, Tensor]  # official names; a Q4 matrix W is the pair W.q4, W.scale
    mimi: Mapping[str, Tensor]  # the encoder only, official names
    tokenizer: bytes  # a SentencePiece model


async def read_model(source: Source, on_progress: Callable[[Progress], None] = ignore_progress) -> ModelFiles:
    """Open and verify all files of a model.

    on_progress: called while files are downloaded, and later while tensors are read from them.
    Raises BadModel, CorruptFile with the file's name, and the errors of `source`.
    """
    manifest = await source.manifest(on_progress)
    progress = Progress("download", manifest.n_bytes, on_progress)
    roles: tuple[Role, ...] = ("tokenizer", "mimi", "lm")
    described = [file for role in roles for file in manifest.files_of(role)]
    files: dict[Role, list[tuple[str, File]]] = {role: [] for role in roles}
    for file, opened in zip(described, await _open_all(source, described, progress), strict=True):
        files[file.role].append((file.path, opened))

    progress = Progress("prepare", manifest.n_bytes, on_progress)
    [(_, tokenizer)] = files["tokenizer"]
    mimi, lm = (
        _MergedTensors([(path, _CountingFile(file, progress)) for path, file in join_parts(files[role])])
        for role in ("mimi", "lm")
    )
    lm.check_metadata(manifest.lm_config)
    return ModelFiles(manifest, lm, EncoderTensors(mimi, manifest.mimi_config), _content(tokenizer))


async def _open_all(source: Source, files: Sequence[ModelFile], progress: Progress) -> list[File]:
    """Open the files in their order, _N_TOGETHER at a time. If one fails, the others are cancelled."""
    free = asyncio.Semaphore(_N_TOGETHER)

    async def open_one(file: ModelFile) -> File:
        async with free:
            return await source.open(file, progress)

    tasks = [asyncio.ensure_future(open_one(file)) for file in files]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def open_tensors(file: File, path: str) -> SafetensorsFile | GgufFile:
    """Open a safetensors or GGUF file. path: its name in messages. Raises BadModel if it is neither."""
    is_gguf = file.n_bytes >= len(gguf.MAGIC) and file.read(0, len(gguf.MAGIC)).tobytes() == gguf.MAGIC
    return GgufFile(file, path) if is_gguf else SafetensorsFile(file, path)


def _content(file: File) -> bytes:
    return file.read(0, file.n_bytes).tobytes()


class _MergedTensors(Mapping[str, Tensor]):
    """The tensors of several files. Raises BadModel if two files contain the same tensor."""

    def __init__(self, files: Sequence[tuple[str, File]]) -> None:
        self._tensors: dict[str, SafetensorsFile | GgufFile] = {}
        self._files: dict[str, SafetensorsFile | GgufFile] = {}
        for path, file in files:
            tensors = self._files[path] = open_tensors(file, path)
            for name in tensors:
                if name in self._tensors:
                    raise BadModel(f"the tensor {name} is in {path} and in an earlier file")
                self._tensors[name] = tensors

    def check_metadata(self, config: LMConfig) -> None:
        """Raise BadModel if a GGUF file's metadata contradicts the config.

        Source of the keys: idle-intelligence/stt-web@7187f13 scripts/quantize.py.
        """
        expected: dict[str, float] = {
            "block_count": config.transformer.n_layers,
            "embedding_length": config.transformer.d,
            "context_length": config.transformer.context,
            "head_count": config.transformer.n_heads,
            "freq_base": config.transformer.max_period,
            "vocab_size": config.text_card,
            "audio_vocab_size": config.card + 1,
        }
        for path, tensors in self._files.items():
            for key, value in tensors.metadata.items() if isinstance(tensors, GgufFile) else ():
                _, _, field = key.rpartition(".")
                if value != expected.get(field, value):
                    raise BadModel(f"{path} says {key} = {value:g}, the config says {expected[field]:g}")

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name][name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape(name)

    def __contains__(self, name: object) -> bool:  # Mapping's default would read the tensor
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _CountingFile:
    """A `File` that counts the bytes read from it."""

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
    """A local model directory; a `Source`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """Read `model.json`. See `Source.manifest`."""
        try:
            return Manifest.parse((self.folder / MANIFEST_NAME).read_bytes())
        except OSError as error:
            raise UnknownModel(str(self.folder)) from error

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Map one file into memory and verify it. See `Source.open`."""
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
        """Do nothing: a folder needs no exclusive handles."""
