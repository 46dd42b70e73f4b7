"""Promises that may fail. MicroPython cannot catch what JavaScript throws or rejects: the coroutine just ends."""

from pyscript import window


class JsError(Exception):
    """What a promise was rejected with. `name` is the DOMException's, such as "NotAllowedError"."""

    def __init__(self, name, message):
        self.name = name
        super().__init__(message)


async def settled(promise):
    """Await a promise: its value. Raises JsError where it is rejected."""
    outcome = (await window.Promise.allSettled(window.Array.of(promise)))[0]
    if outcome.status == "rejected":
        raise JsError(str(outcome.reason.name), str(outcome.reason.message))
    return outcome.value


async def called(function, argument):
    """Call a JavaScript function with one argument. Raises JsError where it throws."""
    return await settled(window.Promise.resolve(argument).then(function))
