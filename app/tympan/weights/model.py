"""Reads a model directory from wherever it is, and believes no byte that its manifest does not vouch for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.weights import safetensors
from tympan.weights.manifest import MANIFEST_NAME, Manifest, ModelFile, Role
from tympan.weights.mimi_names import encoder_tensors
from tympan.weights.safetensors import BytesLike, Tensor


class Source(Protocol):
    """Where a model directory is: a folder, or an address on the web."""

    async def read(self, path: str, on_bytes: Callable[[int], None]) -> BytesLike:
        """Read one file whole.

        path: relative to the directory. on_bytes: called with the number of bytes of every piece that arrives.
        Raises UnknownModel where there is no model directory, another ModelError where the file cannot be had.
        """
        ...


@dataclass(frozen=True)
class ModelFiles:
    """A model's files, checked and decoded, in the dtypes they are stored in."""

    manifest: Manifest
    lm: Mapping[str, Tensor]  # official names; a Q4 matrix W is the pair W.q4, W.scale
    mimi: Mapping[str, Tensor]  # the encoder alone, official names
    tokenizer: bytes  # a SentencePiece model


async def read_model(source: Source, on_progress: Callable[[int, int], None] | None = None) -> ModelFiles:
    """Read and check a whole model.

    on_progress: called with the bytes that are there and the bytes there will be, the first time with 0.
    Raises BadModel, CorruptFile with the name of the file, and what `source` raises.
    """
    manifest = Manifest.parse(await source.read(MANIFEST_NAME, lambda n_bytes: None))
    progress = _Progress(manifest.n_bytes, on_progress or (lambda done_bytes, total_bytes: None))

    async def read_role(role: Role) -> list[tuple[str, BytesLike]]:
        return [(file.path, await _read_checked(source, file, progress)) for file in manifest.files_of(role)]

    [(_, tokenizer)] = await read_role("tokenizer")
    mimi = _merge(await read_role("mimi"))
    lm = _merge(await read_role("lm"))
    return ModelFiles(manifest, lm, dict(encoder_tensors(mimi, manifest.mimi_config)), bytes(tokenizer))


async def _read_checked(source: Source, file: ModelFile, progress: _Progress) -> BytesLike:
    content = await source.read(file.path, progress.add)
    if len(content) != file.n_bytes:
        raise CorruptFile(file.path, f"it has {len(content)} bytes, {file.n_bytes} expected")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise CorruptFile(file.path, f"its sha256 is not the one in {MANIFEST_NAME}")
    return content


def _merge(shards: list[tuple[str, BytesLike]]) -> dict[str, Tensor]:
    merged: dict[str, Tensor] = {}
    for path, content in shards:
        for name, tensor in safetensors.read(content, path).items():
            if name in merged:
                raise BadModel(f"the tensor {name} is in {path} and in a file before it")
            merged[name] = tensor
    return merged


class _Progress:
    def __init__(self, total_bytes: int, report: Callable[[int, int], None]) -> None:
        self.done_bytes, self.total_bytes, self.report = 0, total_bytes, report
        report(0, total_bytes)

    def add(self, n_bytes: int) -> None:
        self.done_bytes += n_bytes
        # A file may turn out longer than promised; it is refused later, and no bar runs past its end meanwhile.
        self.report(min(self.done_bytes, self.total_bytes), self.total_bytes)


class Folder:
    """A model directory on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def read(self, path: str, on_bytes: Callable[[int], None]) -> bytes:
        """Read one file, as `Source` says."""
        try:
            content = (self.folder / path).read_bytes()
        except FileNotFoundError as error:
            if path == MANIFEST_NAME:
                raise UnknownModel(str(self.folder)) from error
            raise CorruptFile(path, "it is missing") from error
        except OSError as error:
            raise CorruptFile(path, error.strerror or "it cannot be read") from error
        on_bytes(len(content))
        return content
