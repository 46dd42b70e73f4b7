"""Conversions between Python and JavaScript values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import js
import numpy as np
from js import Object
from numpy.typing import NDArray
from pyodide.ffi import to_js


def js_object(fields: Mapping[str, Any]) -> Any:
    """Convert a mapping to a JavaScript object; nested mappings and lists are converted too."""
    return to_js(fields, dict_converter=Object.fromEntries)


def uint8_array(array: NDArray[Any]) -> Any:
    """The bytes of a contiguous array as a JavaScript Uint8Array."""
    return to_js(array.reshape(-1).view(np.uint8))


async def bytes_of(blob: Any) -> bytes:
    """The content of a JavaScript Blob or Response. Compare it with None: one of size 0 is false in Python."""
    return bytes((await blob.arrayBuffer()).to_bytes())


async def sha256_of(buffer: Any) -> str:
    """The SHA-256 of an ArrayBuffer in hexadecimal. Frees the buffer where the browser allows it."""
    digest = bytes((await js.crypto.subtle.digest("SHA-256", buffer)).to_bytes()).hex()
    if hasattr(buffer, "transfer"):
        buffer.transfer(0)
    return digest
