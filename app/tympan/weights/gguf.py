"""Reads GGUF files, version 3, each tensor on access.

    "GGUF", version, n_tensors, n_entries
    n_entries times     key, type, value                            the metadata
    n_tensors times     name, n_dims, dims, type, offset            dims innermost first, the reverse of numpy
    padding             up to a multiple of the alignment
    the rest            the tensors, at their offsets from here

A Q4_0 matrix W is returned as Tympan's two tensors, `W.q4` and `W.scale`, a Q8_0 matrix as `W.q8` and `W.scale`. The
tensors have the official names.
Sources: ggml-org/ggml docs/gguf.md; idle-intelligence/stt-web@1cccc70 scripts/quantize.py, whose files have no
padding between tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from tympan.errors import BadModel
from tympan.weights.blocks import BLOCK, SCALE_BYTES, BlockMatrix
from tympan.weights.file import File, TensorInfo
from tympan.weights.q4 import Q4Matrix
from tympan.weights.q8 import Q8Matrix
from tympan.weights.safetensors import Tensor

MAGIC = b"GGUF"

_VERSION = 3
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT_KEY = "general.alignment"
_FIRST_READ_BYTES = 1 << 16  # headers of speech-to-text models have about 20 kB
_MAX_HEADER_BYTES = 1 << 26
_MAX_DIMS = 4
_MAX_ELEMENTS = 2**31 - 1  # the limit of WebAssembly's 32-bit addresses

# Types of metadata values, and the `struct` formats of those with a fixed length.
_STRING, _ARRAY = 8, 9
_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NUMBERS = {kind: Struct(f"<{code}") for kind, code in _CODES.items()}

F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8  # types of tensors
_NAMES = {F32: "F32", F16: "F16", Q4_0: "Q4_0", Q8_0: "Q8_0"}
_DTYPES = {F32: "<f4", F16: "<f2"}
_BLOCKS: dict[int, type[BlockMatrix]] = {Q4_0: Q4Matrix, Q8_0: Q8Matrix}


@dataclass(frozen=True)
class _Entry:
    kind: int
    shape: tuple[int, ...]  # outermost first, as in numpy
    begin: int  # bytes from the start of the data

    @property
    def end(self) -> int:
        if self.blocks:
            return self.begin + prod(self.shape) // BLOCK * (SCALE_BYTES + self.blocks.block_bytes)
        return self.begin + prod(self.shape) * np.dtype(_DTYPES[self.kind]).itemsize

    @property
    def blocks(self) -> type[BlockMatrix] | None:
        """The class of a block-quantized matrix; None for other tensors."""
        return _BLOCKS.get(self.kind)


class GgufFile(Mapping[str, Tensor]):
    """The tensors of one file by name, each read on access. Only the last block-quantized matrix is cached.

    Every tensor is a view of the bytes read: the two parts of a Q4_0 or Q8_0 matrix are not contiguous.
    metadata: the numbers of the metadata by key.
    """

    def __init__(self, file: File, path: str) -> None:
        """path: the file's name in messages. Raises BadModel if its header or its table of tensors is invalid."""
        self._file, self._path = file, path
        self._entries, self._data_start, self.metadata = _parse_header(file, path)
        self._parts = dict(_parts(self._entries))
        self._last: tuple[str, BlockMatrix] | None = None  # its two parts are usually read one after the other

    def __getitem__(self, name: str) -> Tensor:
        stored, part = self._parts[name]
        if part:
            matrix = self._matrix(stored)
            return matrix.scale if part == "scale" else matrix.blocks
        entry = self._entries[stored]
        return self._content(entry).view(_DTYPES[entry.kind]).reshape(entry.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        stored, part = self._parts[name]
        entry = self._entries[stored]
        if part and entry.blocks:
            n, k = entry.shape
            return (n, k // BLOCK) if part == "scale" else (n, k // BLOCK, entry.blocks.block_bytes)
        return entry.shape

    def tensor_infos(self) -> Iterator[TensorInfo]:
        """The entries of the table of tensors, in the order of the data."""
        for name, entry in self._entries.items():
            yield TensorInfo(name, _NAMES[entry.kind], entry.shape, entry.end - entry.begin)

    def __contains__(self, name: object) -> bool:  # Mapping's default would read the tensor
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def _matrix(self, name: str) -> BlockMatrix:
        if self._last is None or self._last[0] != name:
            self._last = None  # frees its memory before the next one is read
            entry = self._entries[name]
            assert entry.blocks, entry
            n, k = entry.shape
            try:
                blocks = self._content(entry).reshape(n, k // BLOCK, SCALE_BYTES + entry.blocks.block_bytes)
                self._last = name, entry.blocks.from_gguf(blocks, k)
            except BadModel as error:
                raise BadModel(f"{self._path}, {name[:80]!r}: {error.reason}") from error
        return self._last[1]

    def _content(self, entry: _Entry) -> NDArray[np.uint8]:
        return self._file.read(self._data_start + entry.begin, entry.end - entry.begin)


def _parts(entries: Mapping[str, _Entry]) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names under which tensors are returned: name -> (tensor in the file, its part or "" for all of it)."""
    for name, entry in entries.items():
        if entry.blocks:
            yield from ((f"{name}.{part}", (name, part)) for part in (entry.blocks.format, "scale"))
        else:
            yield name, (name, "")


class _Ended(Exception):
    """The header is longer than the part that has been read."""


def _parse_header(file: File, path: str) -> tuple[dict[str, _Entry], int, dict[str, float]]:
    """Return the entries in the order of their data, the offset of the data, and the metadata. Raises BadModel."""
    n_bytes = _FIRST_READ_BYTES
    while True:
        content = file.read(0, min(n_bytes, file.n_bytes)).tobytes()
        try:
            header = _Header(content)
            entries, alignment = header.parse()
            break
        except _Ended as error:
            if n_bytes >= min(file.n_bytes, _MAX_HEADER_BYTES):
                raise BadModel(f"{path} is not a valid GGUF file: it ends in the middle of its header") from error
            n_bytes *= 4
        except ValueError as error:
            raise BadModel(f"{path} is not a valid GGUF file: {error}") from error
    data_start = header.n_bytes + -header.n_bytes % alignment
    try:
        return _sorted(entries, file.n_bytes - data_start, alignment), data_start, header.metadata
    except ValueError as error:
        raise BadModel(f"{path} is not a valid GGUF file: {error}") from error


def _sorted(entries: dict[str, _Entry], n_data_bytes: int, alignment: int) -> dict[str, _Entry]:
    """Sort tensors by offset. Raises ValueError unless they fill the file without overlaps and gaps beyond padding."""
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if not end <= entry.begin < end + alignment:
            raise ValueError(f"{name[:80]!r} begins at byte {entry.begin}, the tensor before it ends at {end}")
        end = entry.end
    if not end <= n_data_bytes < end + alignment:
        raise ValueError(f"its tensors take {end} bytes, it has {n_data_bytes}")
    return entries


class _Header:
    """Parses a header. Raises ValueError if it is invalid, _Ended if bytes are missing."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0
        self.metadata: dict[str, float] = {}  # numbers only

    @property
    def n_bytes(self) -> int:
        """Bytes parsed so far; after `parse`, the header's length without padding."""
        return self._position

    def parse(self) -> tuple[dict[str, _Entry], int]:
        """Return the entries by name, and the alignment."""
        if self._read(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._int(4)
        if version != _VERSION:
            raise ValueError(f"it has version {version}, only {_VERSION} is supported")
        n_tensors, n_entries = self._int(8), self._int(8)
        for _ in range(n_entries):
            key, kind = self._text(), self._int(4)
            if number := _NUMBERS.get(kind):
                [self.metadata[key]] = number.unpack(self._read(number.size))
            else:
                self._skip_value(kind)
        alignment = self.metadata.get(_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16:
            raise ValueError(f"its alignment is {alignment}")
        entries: dict[str, _Entry] = {}
        for _ in range(n_tensors):
            name = self._text()
            if name in entries:
                raise ValueError(f"{name[:80]!r} is in it twice")
            try:
                entries[name] = self._entry()
            except ValueError as error:
                raise ValueError(f"the entry of {name[:80]!r} {error}") from error
        return entries, alignment

    def _entry(self) -> _Entry:
        """Raise ValueError with a predicate: "has ..."."""
        n_dims = self._int(4)
        if n_dims > _MAX_DIMS:
            raise ValueError(f"has {n_dims} dimensions")
        shape = tuple(self._int(8) for _ in range(n_dims))[::-1]
        kind, begin = self._int(4), self._int(8)
        if prod(max(dim, 1) for dim in shape) > _MAX_ELEMENTS:
            raise ValueError("has an invalid shape")
        if kind not in _NAMES:
            raise ValueError(f"has the type {kind}; only {', '.join(_NAMES.values())} are supported")
        if kind in _BLOCKS and (len(shape) != 2 or shape[1] % BLOCK):
            raise ValueError(f"has the shape {shape}, which {_NAMES[kind]} cannot hold row by row")
        return _Entry(kind, shape, begin)

    def _skip_value(self, kind: int, *, nested: bool = False) -> None:
        if kind in _NUMBERS:
            self._read(_NUMBERS[kind].size)
        elif kind == _STRING:
            self._read(self._int(8))
        elif kind == _ARRAY and not nested:
            kind, n_values = self._int(4), self._int(8)
            if kind in _NUMBERS:
                self._read(n_values * _NUMBERS[kind].size)
            else:
                for _ in range(n_values):
                    self._skip_value(kind, nested=True)
        else:
            raise ValueError(f"a value of its metadata has the type {kind}")

    def _text(self) -> str:
        return str(self._read(self._int(8)), "utf-8")

    def _int(self, n_bytes: int) -> int:
        return int.from_bytes(self._read(n_bytes), "little")

    def _read(self, n_bytes: int) -> bytes:
        end = self._position + n_bytes
        if end > len(self._content):
            raise _Ended
        start, self._position = self._position, end
        return self._content[start:end]
