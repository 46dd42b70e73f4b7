"""Writes a stream of tensors to numbered safetensors files of limited size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tympan.checkpoint.conversion import SHARD_BYTES
from tympan.weights.manifest import ModelFile, Role
from tympan.weights.safetensors import Tensor

_HEADER_BYTES_PER_TENSOR = 256  # upper bound of an entry: name, dtype, shape, offsets


def write_shards(folder: Path, role: Role, tensors: Iterable[tuple[str, Tensor]]) -> list[ModelFile]:
    """Write `ROLE-00001.safetensors` and so on, each at most 64 MiB unless a single tensor is larger.

    tensors: (name, array) in storage order; at most one shard is in memory.
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
    """The file's entry in the manifest of its directory."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(path.name, role, path.stat().st_size, sha256)
