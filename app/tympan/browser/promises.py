"""Promises that may be rejected. MicroPython cannot catch JavaScript exceptions: they end the coroutine silently."""

import json

from pyscript import window


class JsError(Exception):
    """A JavaScript error. kind: its name, such as "NotAllowedError" or "BadAudio". fields: those of the error."""

    def __init__(self, kind, message, fields):
        self.kind, self.fields = kind, fields
        super().__init__(message)


async def settled(promise):
    """Await a promise and return its value. Raises JsError if it is rejected."""
    outcome = (await window.Promise.allSettled(window.Array.of(promise)))[0]
    if outcome.status == "rejected":
        raise js_error(outcome.reason)
    return outcome.value


async def called(function, argument):
    """Call a JavaScript function with one argument. Raises JsError if it throws."""
    return await settled(window.Promise.resolve(argument).then(function))


def js_error(reason):
    """The reason of a rejected promise, as an exception."""
    fields = json.loads(str(window.JSON.stringify(reason.fields))) if hasattr(reason, "fields") else {}
    return JsError(str(reason.name), str(reason.message), fields)
