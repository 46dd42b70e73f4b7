"""Reads safetensors files, each tensor on access. For files in memory the arrays are views.

    8 bytes     n, little endian
    n bytes     JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__"
    the rest    the tensors one after the other, without gaps

Source: huggingface/safetensors README.md, Format. Implemented here because that package has no
Pyodide wheel, and because headers of files from unknown sources must be validated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel
from tympan.weights.file import BytesLike, File, InMemory, TensorInfo

Tensor: TypeAlias = NDArray[np.generic]

_LENGTH_BYTES = 8
_ALIGNMENT = 8  # of the data
_MAX_HEADER_BYTES = 100_000_000
_MAX_DIMS = 8
_MAX_ELEMENTS = 2**31 - 1  # the limit of WebAssembly's 32-bit addresses

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes after the header
    end: int


class SafetensorsFile(Mapping[str, Tensor]):
    """The tensors of one file by name, each read on access and not cached.

    F32, F16 and integers are views of the file's bytes; BF16 is converted to float32, which is exact.
    """

    def __init__(self, file: File, path: str) -> None:
        """path: the file's name in messages. Raises BadModel if its header is invalid."""
        self._file = file
        self._entries, self._data_start = _parse_header(file, path)

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        content = self._file.read(self._data_start + entry.begin, entry.end - entry.begin)
        stored = content.view(_DTYPES[entry.dtype])
        if entry.dtype == "BF16":  # the upper half of a float32
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.reshape(entry.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """The format's name of the dtype, such as "BF16"."""
        return self._entries[name].dtype

    def location(self, name: str) -> tuple[int, int]:
        """Offset in the file, and length, of the tensor's bytes."""
        entry = self._entries[name]
        return self._data_start + entry.begin, entry.end - entry.begin

    def tensor_infos(self) -> Iterator[TensorInfo]:
        """The entries of the header, in the order of the data."""
        for name, entry in self._entries.items():
            yield TensorInfo(name, entry.dtype, entry.shape, entry.end - entry.begin)

    def __contains__(self, name: object) -> bool:  # Mapping's default would decode the tensor
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy dtype of a format's dtype."""
    return np.dtype(_DTYPES[dtype])


def header_of(tensors: Iterable[TensorInfo]) -> bytes:
    """The beginning of a file with these tensors; their bytes follow in the same order."""
    header: dict[str, Any] = {}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.n_bytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def header_bytes(file: File, path: str) -> int:
    """Length of the file's header, from its first 8 bytes. Raises BadModel if it cannot be that of a header."""
    if file.n_bytes < _LENGTH_BYTES:
        raise BadModel(f"{path} is not a valid safetensors file: it is {file.n_bytes} bytes long")
    n_bytes = int.from_bytes(file.read(0, _LENGTH_BYTES).tobytes(), "little")
    if n_bytes > _MAX_HEADER_BYTES or _LENGTH_BYTES + n_bytes > file.n_bytes:
        reason = f"its header of {n_bytes} bytes does not fit into {file.n_bytes}"
        raise BadModel(f"{path} is not a valid safetensors file: {reason}")
    return _LENGTH_BYTES + n_bytes


def read(buffer: BytesLike, path: str) -> dict[str, Tensor]:
    """Read all tensors of a file, as `SafetensorsFile` decodes them.

    buffer: the whole file. path: its name in messages. Raises BadModel if its header is invalid.
    """
    return dict(SafetensorsFile(InMemory(buffer), path))


def _parse_header(file: File, path: str) -> tuple[dict[str, _Entry], int]:
    """Return the entries in the order of their data, and the offset of the data. Raises BadModel."""

    def refuse(reason: str) -> NoReturn:
        raise BadModel(f"{path} is not a valid safetensors file: {reason}")

    data_start = header_bytes(file, path)
    try:
        text = str(file.read(_LENGTH_BYTES, data_start - _LENGTH_BYTES).data, "utf-8")
        header = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        refuse(f"its header is not JSON ({error})")
    if not isinstance(header, dict):
        refuse("its header is not a JSON object")
    header.pop("__metadata__", None)

    entries: dict[str, _Entry] = {}
    for name, value in header.items():
        try:
            entries[name] = _entry(value)
        except ValueError as error:
            refuse(f"the entry of {name[:80]!r} {error}")
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if entry.begin != end:
            refuse(f"{name[:80]!r} begins at byte {entry.begin}, the tensor before it ends at {end}")
        end = entry.end
    if data_start + end != file.n_bytes:
        refuse(f"its header describes {data_start + end} bytes, it has {file.n_bytes}")
    return entries, data_start


def _entry(value: Any) -> _Entry:
    """Validate one tensor's entry. Raises ValueError with a predicate: "has ..."."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("has other keys than dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"has the unknown dtype {str(dtype)[:20]!r}")
    if not _are_sizes(shape) or len(shape) > _MAX_DIMS or prod(max(dim, 1) for dim in shape) > _MAX_ELEMENTS:
        raise ValueError("has an invalid shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError("has data_offsets that are not two positions")
    begin, end = offsets
    n_bytes = prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if end - begin != n_bytes:
        raise ValueError(f"spans {end - begin} bytes, {dtype} of shape {shape} takes {n_bytes}")
    return _Entry(dtype, tuple(shape), begin, end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key appears twice")
    return unique
