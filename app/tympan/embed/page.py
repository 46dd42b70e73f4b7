"""The page's own thread, as a worker reaches it without SharedArrayBuffer: questions and answers over a channel.

The other end is static/embed/door.js, which PyScript imports there for us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar
from urllib.parse import urljoin
from uuid import uuid4

import js
import pyodide_js
from js import BroadcastChannel, Object
from pyodide.ffi import JsProxy, create_proxy, to_js

from tympan.errors import NotInWorker


def home_url() -> str:
    """The address of the site that this library came from, which has Pyodide in `vendor/pyodide/`."""
    return urljoin(str(pyodide_js._api.config.indexURL), "../../")


def check_worker() -> None:
    """Raise NotInWorker on the page's own thread."""
    if not hasattr(js, "WorkerGlobalScope"):
        raise NotInWorker


class PageError(Exception):
    """What went wrong there. name: of the JavaScript error, such as "NotAllowedError"."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class Page:
    """on_samples: called with a Float32Array while the microphone is open. on_end: when it has gone away."""

    _reached: ClassVar[Page | None] = None

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = count()
        self.on_samples: Callable[[JsProxy], None] = _ignore
        self.on_end: Callable[[], None] = _ignore
        channel.onmessage = create_proxy(self._receive)

    @classmethod
    async def reach(cls) -> Page:
        """The page of this worker. Raises NotInWorker."""
        check_worker()
        if cls._reached is None:
            from polyscript import xworker

            name = f"tympan-{uuid4()}"
            page = cls(BroadcastChannel.new(name))
            await xworker.sync.importJS(f"{home_url()}embed/door.js?channel={name}", name)
            cls._reached = page
        return cls._reached

    async def ask(self, action: str, value: Any = None) -> Any:
        """Have something done there; return what it gives. Raises PageError."""
        answer = asyncio.get_running_loop().create_future()
        self._answers[self.tell(action, value)] = answer
        return await answer

    def tell(self, action: str, value: Any = None) -> int:
        """Have something done there, and do not wait. Returns the id of the question."""
        question = {"id": next(self._ids), "action": action, "value": value}
        self._channel.postMessage(to_js(question, dict_converter=Object.fromEntries))
        return question["id"]

    def stop_listening(self) -> None:
        """Give the microphone back, and call nobody any more."""
        self.on_samples = self.on_end = _ignore
        self.tell("close")

    def _receive(self, event: Any) -> None:
        message = event.data
        if hasattr(message, "samples"):
            self.on_samples(message.samples)
        elif hasattr(message, "ended"):
            self.on_end()
        else:
            self._settle(message)

    def _settle(self, message: Any) -> None:
        answer = self._answers.pop(message.id, None)
        if answer is None or answer.done():
            return
        if hasattr(message, "error"):
            answer.set_exception(PageError(str(message.error.name), str(message.error.message)))
        else:
            answer.set_result(getattr(message, "value", None))


def _ignore(*values: object) -> None:
    """Nobody listens."""
