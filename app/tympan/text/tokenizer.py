"""Decodes token ids with a SentencePiece `.model` file.

The page only decodes, so only the pieces are read: field 1 of the protobuf message, each with its text (field 1) and
its type (field 3). Source: google/sentencepiece src/sentencepiece_model.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tympan.config import FIRST_TEXT_ID
from tympan.errors import BadModel

SPACE = "\u2581"  # marks a piece that starts a word

_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Tokenizer:
    """The pieces of a SentencePiece model by token id."""

    pieces: tuple[bytes, ...]  # UTF-8 with SPACE; empty for ids without text

    @classmethod
    def from_bytes(cls, model: bytes) -> Tokenizer:
        """Read a `.model` file. Raises BadModel if it is not valid."""
        try:
            pieces = tuple(_piece(message) for number, message in _fields(memoryview(model)) if number == 1)
        except (IndexError, ValueError) as error:
            raise BadModel(f"the tokenizer is not a SentencePiece model ({error})") from error
        if not pieces:
            raise BadModel("the tokenizer has no pieces")
        return cls(pieces)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` without special ids: words separated by single spaces, no space at either end."""
        text = b"".join(self.pieces[i] for i in ids if FIRST_TEXT_ID <= i < len(self.pieces))
        return text.decode("utf-8", errors="replace").replace(SPACE, " ").strip()

    def begins_word(self, token: int) -> bool:
        """Whether the piece of `token` starts with a space."""
        return FIRST_TEXT_ID <= token < len(self.pieces) and self.pieces[token].startswith(SPACE.encode())


def _piece(message: int | memoryview) -> bytes:
    if isinstance(message, int):
        raise ValueError("a piece is a number")
    fields = dict(_fields(message))
    text, kind = fields.get(1, b""), fields.get(3, _NORMAL)
    if isinstance(text, int):
        raise ValueError("a piece's text is a number")
    if kind == _BYTE:  # written <0xE2>
        return bytes([int(bytes(text[3:5]), 16)])
    return bytes(text) if kind in (_NORMAL, _USER_DEFINED) else b""


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: field number, and an int (varint) or bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if key & 7 == _BYTES:
            length, position = _varint(message, position)
        elif key & 7 in (_FIXED32, _FIXED64):
            length = 4 if key & 7 == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {key & 7} at byte {position}")
        if position + length > len(message):
            raise ValueError(f"field {key >> 3} is truncated")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value, shift, position = value | (byte & 127) << shift, shift + 7, position + 1
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError(f"a number at byte {position} is too long")
