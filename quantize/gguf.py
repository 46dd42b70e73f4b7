"""Writes GGUF files with the layout of the published stt-1b-en_fr quantization, to test and benchmark the reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tympan.weights import gguf
from tympan.weights.blocks import BlockMatrix
from tympan.weights.safetensors import Tensor

_ALIGNMENT = 32
_METADATA = {"general.architecture": "kyutai-stt"}
_STRING = 8
_KINDS = {"q4": gguf.Q4_0, "q8": gguf.Q8_0, "float32": gguf.F32, "float16": gguf.F16}


def write_gguf(path: Path, tensors: Mapping[str, Tensor | BlockMatrix]) -> None:
    """Write tensors in order: block-quantized matrices as Q4_0 or Q8_0, float32 as F32, float16 as F16.

    Source of the layout: idle-intelligence/stt-web@1cccc70 scripts/quantize.py.
    """
    offset = 0
    with path.open("wb") as file:
        file.write(gguf.MAGIC + _int(3, 4) + _int(len(tensors), 8) + _int(len(_METADATA), 8))
        for key, value in _METADATA.items():
            file.write(_text(key) + _int(_STRING, 4) + _text(value))
        for name, tensor in tensors.items():
            kind = _KINDS[tensor.format if isinstance(tensor, BlockMatrix) else tensor.dtype.name]
            dims = b"".join(_int(dim, 8) for dim in reversed(tensor.shape))
            file.write(_text(name) + _int(len(tensor.shape), 4) + dims + _int(kind, 4) + _int(offset, 8))
            offset += sum(tensor.n_bytes) if isinstance(tensor, BlockMatrix) else tensor.nbytes
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for tensor in tensors.values():
            _write(file, tensor.to_gguf() if isinstance(tensor, BlockMatrix) else tensor)


def _write(file: BinaryIO, array: Tensor) -> None:
    file.write(np.ascontiguousarray(array).data)


def _int(value: int, n_bytes: int) -> bytes:
    return value.to_bytes(n_bytes, "little")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _int(len(encoded), 8) + encoded
