"""The page's side of the engine: calls that return values or raise, and the messages it sends."""

import asyncio
import json

from pyscript import document, workers

POLL_S = 0.01


class EngineError(Exception):
    """What went wrong in the worker: `str(error)` is the sentence for the screen, `error.kind` the class's name."""

    def __init__(self, kind, message, fields):
        self.kind, self.fields = kind, fields
        super().__init__(message)


class Engine:
    """The worker that runs the model. Its functions are those that app/engine.py exports."""

    def __init__(self, on_message):
        """on_message: called with every message it posts, a JS object with a `kind`."""
        self._on_message = on_message
        self._worker = None

    async def start(self):
        """Wait for the worker to be there."""
        script = document.querySelector("script[name=engine]")
        while not hasattr(script, "xworker"):  # PyScript puts it there a moment after this script has started
            await asyncio.sleep(POLL_S)
        script.xworker.addEventListener("message", lambda event: self._on_message(event.data))
        self._worker = await workers["engine"]

    async def call(self, function, *arguments):
        """Call an exported function; return its value. Raises EngineError with what a person should read."""
        return _value(await getattr(self._worker, function)(*arguments))

    def send(self, function, argument, on_error):
        """Call an exported function without waiting for it. on_error: called with the EngineError, should there be one.

        No timer is behind this, so that it is as fast in a tab that is not seen.
        """

        def answered(answer):
            try:
                _value(answer)
            except EngineError as error:
                on_error(error)

        getattr(self._worker, function)(argument).then(answered)


def _value(answer):
    answer = json.loads(str(answer))
    if "error" in answer:
        error = answer["error"]
        raise EngineError(error["kind"], error["message"], error.get("fields", {}))
    return answer["value"]
