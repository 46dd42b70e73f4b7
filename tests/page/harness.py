"""Runs in the page of the `pyodide_page` fixture. Its last expression is the function that the page calls."""

import base64
import pickle
import sys

from pyodide.code import eval_code_async

sys.path.insert(0, "/library")


async def call(source: str, pickled_values: str) -> str:
    """Run Python with top-level await in a new namespace and return the value of its last expression, pickled."""
    namespace = {"__name__": "page", **pickle.loads(base64.b64decode(pickled_values))}
    return base64.b64encode(pickle.dumps(await eval_code_async(source, namespace))).decode()


call  # noqa: B018 - what runPython returns
