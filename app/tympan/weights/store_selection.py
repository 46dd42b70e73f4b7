"""Selects the storage for downloaded files: the origin private file system (OPFS), else the Cache API, else memory."""

from __future__ import annotations

from contextlib import suppress

import js
from js import navigator
from pyodide.ffi import JsException

from tympan.javascript import js_object
from tympan.weights.cache_store import CacheStore
from tympan.weights.private_store import PrivateStore
from tympan.weights.store import Store

_FOLDER = "models"  # in OPFS
_CACHE_NAME = "tympan models"


async def open_store() -> Store:
    """Open the origin private file system if available, else the Cache API, else storage in memory.

    Pages over plain http have neither `navigator.storage` nor `caches`; each is feature-tested.
    """
    with suppress(AttributeError, TypeError, JsException):  # an old browser, plain http, a private window
        root = await navigator.storage.getDirectory()
        store = PrivateStore(await root.getDirectoryHandle(_FOLDER, js_object({"create": True})))
        await store.write_text("probe", b"writes")
        return store
    cache = None
    with suppress(AttributeError, TypeError, JsException):
        cache = await js.caches.open(_CACHE_NAME)
    return CacheStore(cache)
