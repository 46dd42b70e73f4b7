"""Writes tensors into numbered safetensors files of a bounded size, as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tympan.weights.manifest import ModelFile, Role
from tympan.weights.safetensors import Tensor

SHARD_BYTES = 64 << 20
_HEADER_BYTES_PER_TENSOR = 256  # more than any entry takes: name, dtype, shape, offsets


def write_shards(folder: Path, role: Role, tensors: Iterable[tuple[str, Tensor]]) -> list[ModelFile]:
    """Write `ROLE-00001.safetensors` and so on, none over 64 MiB unless a single tensor is.

    tensors: (name, array) in the order they are to be stored; at most one shard of them is in memory.
    Returns the files in order.
    """
    files: list[ModelFile] = []
    shard: dict[str, Tensor] = {}
    shard_bytes = 0

    def flush() -> None:
        path = folder / f"{role}-{len(files) + 1:05}.safetensors"
        path.write_bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in shard.items()}))
        files.append(describe(path, role))
        shard.clear()

    for name, tensor in tensors:
        n_bytes = tensor.nbytes + _HEADER_BYTES_PER_TENSOR
        if shard and shard_bytes + n_bytes > SHARD_BYTES:
            flush()
            shard_bytes = 0
        shard[name] = tensor
        shard_bytes += n_bytes
    if shard:
        flush()
    return files


def describe(path: Path, role: Role) -> ModelFile:
    """A file's entry in the manifest of the directory it is in."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(path.name, role, path.stat().st_size, sha256)
