"""Reads the body of a response in few, large pieces."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter
from typing import Any

from js import ArrayBuffer, Uint8Array
from pyodide.ffi import JsException

from tympan.javascript import js_object

_PIECE_BYTES = 1 << 20
_FAST_S = 0.5  # for a piece; a slower connection delivers what it has


class BodyReader:
    """Reads a body into one buffer.

    Each piece costs Python about as much as copying 100 KB, and a fast connection alone delivers pieces of 64 KB. So a
    read waits for a whole piece, unless the one before it took long.
    """

    def __init__(self, body: Any) -> None:
        """body: a JavaScript ReadableStream of bytes."""
        self._buffer: Any = None
        try:
            self._reader = body.getReader(js_object({"mode": "byob"}))
        except JsException:  # not a byte stream: WebKit
            self._reader = body.getReader()
        else:
            self._buffer = ArrayBuffer.new(_PIECE_BYTES)
        self._min_bytes = 1

    async def read(self) -> Any:
        """Return the next bytes as a Uint8Array, valid until the next call; None at the end. Raises JsException."""
        if self._buffer is None:
            piece = await self._reader.read()
            return None if piece.done else piece.value
        started_s = perf_counter()
        piece = await self._reader.read(Uint8Array.new(self._buffer), js_object({"min": self._min_bytes}))
        if piece.done and (piece.value is None or not piece.value.length):  # the last piece may be shorter
            return None
        self._buffer = piece.value.buffer
        self._min_bytes = _PIECE_BYTES if perf_counter() - started_s < _FAST_S else 1
        return piece.value

    async def close(self) -> None:
        """Close the connection, which may already be broken."""
        with suppress(JsException):
            await self._reader.cancel()
