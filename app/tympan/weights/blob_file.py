"""Synchronous reads of stored files: a JavaScript Blob, or a file of the origin private file system (OPFS).

Only workers can read these synchronously, so this module runs in the engine worker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyodide_js
from js import FileReaderSync, Uint8Array
from numpy.typing import NDArray
from pyodide.ffi import JsException

from tympan.errors import CorruptFile
from tympan.javascript import js_object
from tympan.wasm.memory import address


class BlobFile:
    """A JavaScript Blob as a `File`; each read copies a part out of the browser's storage."""

    def __init__(self, blob: Any, path: str) -> None:
        """path: the file's name in messages."""
        self._blob, self.path = blob, path

    @property
    def n_bytes(self) -> int:
        return int(self._blob.size)

    def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
        """Copy a part into a new array. See `File.read`."""
        content = np.empty(n_bytes, np.uint8)
        try:
            if n_bytes:
                self._copy(offset, content)
        except JsException as error:  # deleted in another tab
            raise lost(self.path, error) from error
        return content

    def _copy(self, offset: int, target: NDArray[np.uint8]) -> None:
        buffer = FileReaderSync.new().readAsArrayBuffer(self._blob.slice(offset, offset + len(target)))
        buffer.assign_to(target)
        if hasattr(buffer, "transfer"):
            buffer.transfer(0)  # free it now: garbage collection would wait for hundreds of megabytes


def lost(path: str, error: JsException) -> CorruptFile:
    """The error to raise for a stored file that the browser has deleted or closed."""
    return CorruptFile(path, f"the browser has lost it ({error.name})")


class PrivateFile(BlobFile):
    """A file of the origin private file system. With an exclusive handle it is read directly into Python's memory.

    Reading a Blob leaves a copy until the next garbage collection: hundreds of megabytes for a large model.
    """

    access: Any = None  # a FileSystemSyncAccessHandle, until released

    def _copy(self, offset: int, target: NDArray[np.uint8]) -> None:
        if self.access is None:
            super()._copy(offset, target)
            return
        memory = Uint8Array.new(pyodide_js._module.HEAPU8.buffer, address(target), len(target))
        if self.access.read(memory, js_object({"at": offset})) != len(target):
            raise CorruptFile(self.path, "the browser has lost a part of it")
