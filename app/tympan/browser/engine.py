"""The page's side of the engine: calls that return values or raise, and the messages it sends."""

import asyncio
import json

from pyscript import document, workers

POLL_S = 0.01


class EngineError(Exception):
    """What went wrong in the worker: `str(error)` is the sentence for the screen, `error.kind` the class's name."""

    def __init__(self, kind, message):
        self.kind = kind
        super().__init__(message)


class Engine:
    """The worker that runs the model."""

    def __init__(self, worker):
        self._worker = worker

    @classmethod
    async def start(cls, on_message):
        """Wait for the worker. on_message: called with every message it posts, a JS object with a `kind`."""
        script = document.querySelector("script[name=engine]")
        while not hasattr(script, "xworker"):  # PyScript puts it there a moment after this script has started
            await asyncio.sleep(POLL_S)
        script.xworker.addEventListener("message", lambda event: on_message(event.data))
        return cls(await workers["engine"])

    async def open_model(self, name, backend, page_url):
        return self._value(await self._worker.open_model(name, backend, page_url))

    async def begin(self, rate_hz, live, trace):
        return self._value(await self._worker.begin(rate_hz, live, trace))

    async def hear(self, samples):
        return self._value(await self._worker.hear(samples))

    async def feed(self, samples):
        return self._value(await self._worker.feed(samples))

    async def finish(self):
        return self._value(await self._worker.finish())

    async def abandon(self):
        return self._value(await self._worker.abandon())

    @staticmethod
    def _value(answer):
        answer = json.loads(answer)
        if "error" in answer:
            raise EngineError(answer["error"]["kind"], answer["error"]["message"])
        return answer["value"]
