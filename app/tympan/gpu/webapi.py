"""JavaScript's names. Under CPython the same names exist, and there is no `navigator` to find a GPU with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

if sys.platform == "emscripten":
    import js
    from js import Array, Object, Uint8Array, navigator
    from pyodide.ffi import JsException, create_proxy, to_js
else:
    js: Any = None
    Array: Any = None
    Object: Any = None
    Uint8Array: Any = None
    navigator: Any = None
    create_proxy: Any = None
    to_js: Any = None

    class JsException(Exception):
        """What a failed call into JavaScript raises."""


def js_object(fields: Mapping[str, Any]) -> Any:
    """A JavaScript object with these fields; nested mappings and lists are converted as well."""
    return to_js(fields, dict_converter=Object.fromEntries)


def method_of(kind: str, name: str) -> Any:
    """A method of all objects of a JavaScript class, looked up once: it is called with the object first.

    A method that is looked up on an object is made anew each time, which takes longer than most calls.
    """
    return js.Function.prototype.call.bind(getattr(getattr(js, kind).prototype, name))
