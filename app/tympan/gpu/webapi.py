"""The JavaScript names that the library uses. Under CPython they exist too, but `navigator` is None."""

from __future__ import annotations

import sys
from typing import Any

if sys.platform == "emscripten":
    import js
    from js import Array, Uint8Array, navigator
    from pyodide.ffi import JsException, create_proxy

    from tympan.javascript import js_object

    try:
        from tympan_replay import replay
    except ImportError:  # a worker that another page has started
        replay = None
else:
    js: Any = None
    Array: Any = None
    Uint8Array: Any = None
    navigator: Any = None
    create_proxy: Any = None
    js_object: Any = None
    replay: Any = None  # bridge/replay.js

    class JsException(Exception):
        """Stands for pyodide.ffi.JsException under CPython, where nothing raises it."""


def method_of(kind: str, name: str) -> Any:
    """An unbound method of a JavaScript class, to be called with the object as the first argument.

    Looking a method up on an object creates a new proxy each time, which takes longer than most calls.
    """
    return js.Function.prototype.call.bind(getattr(getattr(js, kind).prototype, name))
