"""Reads the body of a response in few, large pieces."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter
from typing import Any

from js import ArrayBuffer, Uint8Array
from pyodide.ffi import JsException

from tympan.javascript import js_object

_PIECE_BYTES = 1 << 20
_WAIT_S = 0.25  # for a piece, at the rate so far


class BodyReader:
    """Reads a body into one buffer.

    Python's work per piece does not depend on its size, and browsers deliver small pieces. So each read asks for a
    minimum: as much as the connection has delivered in _WAIT_S on average, and at most twice the last piece.
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
        self._min_bytes, self._n_bytes, self._started_s = 1, 0, perf_counter()

    async def read(self) -> Any:
        """Return the next bytes as a Uint8Array, valid until the next call; None at the end. Raises JsException."""
        if self._buffer is None:
            piece = await self._reader.read()
            return None if piece.done else piece.value
        piece = await self._reader.read(Uint8Array.new(self._buffer), js_object({"min": self._min_bytes}))
        if piece.done and (piece.value is None or not piece.value.length):  # the last piece may be shorter
            return None
        self._buffer = piece.value.buffer
        self._n_bytes += piece.value.length
        rate = self._n_bytes / max(perf_counter() - self._started_s, 1e-6)
        self._min_bytes = max(1, min(_PIECE_BYTES, 2 * piece.value.length, int(_WAIT_S * rate)))
        return piece.value

    async def close(self) -> None:
        """Close the connection, which may already be broken."""
        with suppress(JsException):
            await self._reader.cancel()
