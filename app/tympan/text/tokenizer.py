"""Decodes token ids with a SentencePiece `.model` file, and splits words into pieces.

Of the protobuf message are read: the pieces (field 1), each with its text (1), score (2) and type (3), and the
algorithm (field 3 of field 2). Source: google/sentencepiece src/sentencepiece_model.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from struct import unpack

from tympan.config import FIRST_TEXT_ID
from tympan.errors import BadModel

SPACE = "\u2581"  # marks a piece that starts a word

_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6
_BPE = 2  # model_type; others are treated as a unigram model
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Tokenizer:
    """The pieces of a SentencePiece model by token id."""

    pieces: tuple[bytes, ...]  # UTF-8 with SPACE; empty for ids without text
    scores: tuple[float, ...] = ()  # of the pieces: log probabilities, or the order of merges of a BPE model
    is_bpe: bool = False

    @classmethod
    def from_bytes(cls, model: bytes) -> Tokenizer:
        """Read a `.model` file. Raises BadModel if it is not valid."""
        try:
            fields = list(_fields(memoryview(model)))
            pieces = tuple(_piece(message) for number, message in fields if number == 1)
            scores = tuple(_score(message) for number, message in fields if number == 1)
            trainer = dict(_fields(next((m for n, m in fields if n == 2 and not isinstance(m, int)), memoryview(b""))))
        except (IndexError, ValueError) as error:
            raise BadModel(f"the tokenizer is not a SentencePiece model ({error})") from error
        if not pieces:
            raise BadModel("the tokenizer has no pieces")
        return cls(pieces, scores, trainer.get(3) == _BPE)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` without special ids: words separated by single spaces, no space at either end."""
        text = b"".join(self.pieces[i] for i in ids if FIRST_TEXT_ID <= i < len(self.pieces))
        return text.decode("utf-8", errors="replace").replace(SPACE, " ").strip()

    def begins_word(self, token: int) -> bool:
        """Whether the piece of `token` starts with a space."""
        return FIRST_TEXT_ID <= token < len(self.pieces) and self.pieces[token].startswith(SPACE.encode())

    def encode_word(self, word: str) -> list[int]:
        """The ids of a word with the space before it, as the model was trained with them; empty if it has no pieces."""
        text = (SPACE + word).encode()
        return self._merge(text) if self.is_bpe else self._most_likely(text)

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        return {piece: id for id, piece in enumerate(self.pieces) if piece and id >= FIRST_TEXT_ID}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._ids), default=0)

    def _most_likely(self, text: bytes) -> list[int]:
        """The pieces with the largest sum of scores (Viterbi), for a unigram model."""
        best: list[tuple[float, int, int]] = [(0.0, 0, 0)]  # by end: sum of scores, start and id of the last piece
        for end in range(1, len(text) + 1):
            options = [
                (best[start][0] + self.scores[id], start, id)
                for start in range(max(0, end - self._longest), end)
                if (id := self._ids.get(text[start:end])) is not None
            ]
            best.append(max(options, default=(float("-inf"), 0, 0)))
        ids: list[int] = []
        end = len(text)
        while end and best[end][0] > float("-inf"):
            ids, end = [best[end][2], *ids], best[end][1]
        return ids if end == 0 else []

    def _merge(self, text: bytes) -> list[int]:
        """The pieces that remain after all merges, best score first, for a BPE model."""
        parts = [character.encode() for character in text.decode()]
        while len(parts) > 1:
            merges = [
                (self.scores[id], -i)
                for i, (left, right) in enumerate(pairwise(parts))
                if (id := self._ids.get(left + right)) is not None
            ]
            if not merges:
                break
            i = -max(merges)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids = [self._ids.get(part) for part in parts]
        return [] if None in ids else [id for id in ids if id is not None]


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


def _score(message: int | memoryview) -> float:
    """The score of a piece; 0 if it has none."""
    score = dict(_fields(message)).get(2) if not isinstance(message, int) else None
    return float(unpack("<f", score)[0]) if isinstance(score, memoryview) else 0.0


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
