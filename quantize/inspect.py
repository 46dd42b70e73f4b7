"""Lists the contents of a model directory, a safetensors or a GGUF file as lines of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tympan.errors import BadModel, UnknownModel
from tympan.weights.file import File, InMemory, TensorInfo, join_parts
from tympan.weights.manifest import MANIFEST_NAME, Manifest
from tympan.weights.model import open_tensors


def inspect(path: Path) -> Iterator[str]:
    """Describe a model without computing hashes or reading tensors.

    path: a model directory, or a tensor file. Raises UnknownModel if it does not exist, BadModel if it is invalid.
    """
    if path.is_file():
        yield from _file_lines(_mapped(path), path.name)
        return
    try:
        manifest = Manifest.parse((path / MANIFEST_NAME).read_bytes())
    except OSError as error:
        raise UnknownModel(str(path)) from error
    facts = {
        "name": manifest.name,
        "title": manifest.title,
        "languages": ", ".join(manifest.languages),
        "licence": manifest.licence,
        "source": manifest.source,
        "bytes": f"{manifest.n_bytes:,}",
    }
    yield from (f"{key:10} {value}" for key, value in facts.items())
    yield ""
    yield from (f"{file.path}  {file.role}, {file.n_bytes:,} bytes, sha256 {file.sha256}" for file in manifest.files)
    for name, file in join_parts(
        (file.path, _mapped(path / file.path)) for file in manifest.files if file.role != "tokenizer"
    ):
        yield from ("", name, *_file_lines(file, name))


def _mapped(path: Path) -> File:
    try:
        return InMemory.mapped(path)
    except OSError as error:
        raise BadModel(f"{path.name} cannot be read ({error})") from error


def _file_lines(file: File, name: str) -> Iterator[str]:
    tensors = list(open_tensors(file, name).tensor_infos())
    yield from _table(tensors)
    yield f"{len(tensors)} tensors, {sum(tensor.n_bytes for tensor in tensors):,} bytes"


def _table(tensors: Iterable[TensorInfo]) -> Iterator[str]:
    rows = [(tensor.name, tensor.dtype, str(list(tensor.shape)), f"{tensor.n_bytes:,}") for tensor in tensors]
    name, dtype, shape, size = (max((len(row[i]) for row in rows), default=0) for i in range(4))
    for row in rows:
        yield f"{row[0]:{name}}  {row[1]:{dtype}}  {row[2]:{shape}}  {row[3]:>{size}}"
