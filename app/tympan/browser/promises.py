"""Promises that may be rejected. MicroPython cannot catch what JavaScript throws: the coroutine just ends."""

import json

from pyscript import window


class JsError(Exception):
    """A JavaScript error. `kind`: its name, such as "NotAllowedError" or "BadAudio". `fields`: those of its kind."""

    def __init__(self, kind, message, fields):
        self.kind, self.fields = kind, fields
        super().__init__(message)


async def settled(promise):
    """Await a promise: its value. Raises JsError where it is rejected."""
    outcome = (await window.Promise.allSettled(window.Array.of(promise)))[0]
    if outcome.status == "rejected":
        raise js_error(outcome.reason)
    return outcome.value


async def called(function, argument):
    """Call a JavaScript function with one argument. Raises JsError where it throws."""
    return await settled(window.Promise.resolve(argument).then(function))


def js_error(reason):
    """What a promise was rejected with, as an exception."""
    fields = json.loads(str(window.JSON.stringify(reason.fields))) if hasattr(reason, "fields") else {}
    return JsError(str(reason.name), str(reason.message), fields)
