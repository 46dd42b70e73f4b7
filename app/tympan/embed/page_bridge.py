"""Sends requests from a worker to the page thread over a BroadcastChannel, without SharedArrayBuffer.

The other end is static/bridge/page_bridge.js, which PyScript imports there.
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
from js import URL, Blob, BroadcastChannel
from pyodide.ffi import JsProxy, create_proxy, to_js

from tympan.embed.package_site import package_site, page_bridge_url
from tympan.errors import NotInWorker
from tympan.javascript import js_object

pyodide_js._module.jspiSupported = False  # see app/engine.py


def home_url() -> str:
    """The URL of the site that served this library; Pyodide is in its `vendor/pyodide/`."""
    return urljoin(str(pyodide_js._api.config.indexURL), "../../")


def check_worker() -> None:
    """Raise NotInWorker on the page thread."""
    if not hasattr(js, "WorkerGlobalScope"):
        raise NotInWorker


class PageError(Exception):
    """A JavaScript error of the page. kind: its name, such as "BadAudio". fields: of the error."""

    def __init__(self, kind: str, message: str, fields: dict[str, Any]) -> None:
        self.kind, self.fields = kind, fields
        super().__init__(message)

    @property
    def reason(self) -> str:
        """The part of the message that states the cause."""
        return str(self.fields.get("reason", self))


class PageBridge:
    """The connection to the page thread.

    on_samples: called with a Float32Array while the microphone is open. on_end: called when the device is disconnected.
    """

    _instance: ClassVar[PageBridge | None] = None

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = count()
        self.on_samples: Callable[[JsProxy], None] = _ignore
        self.on_end: Callable[[], None] = _ignore
        channel.onmessage = create_proxy(self._receive)

    @classmethod
    async def connect(cls) -> PageBridge:
        """Return the bridge of this worker; the first call creates it. Raises NotInWorker."""
        check_worker()
        if cls._instance is None:
            from polyscript import xworker

            name = f"tympan-{uuid4()}"
            bridge = cls(BroadcastChannel.new(name))
            site = package_site()
            served = f"{home_url()}bridge/page_bridge.js?channel={name}"
            await xworker.sync.importJS(page_bridge_url(site, name, _blob_url) if site else served, name)
            cls._instance = bridge
        return cls._instance

    async def request(self, action: str, value: Any = None) -> Any:
        """Request an action of the page and return its result. Raises PageError."""
        answer = asyncio.get_running_loop().create_future()
        self._answers[self.send(action, value)] = answer
        return await answer

    def send(self, action: str, value: Any = None) -> int:
        """Request an action of the page without waiting for it. Returns the id of the message."""
        message = {"id": next(self._ids), "action": action, "value": value}
        self._channel.postMessage(js_object(message))
        return message["id"]

    def close_microphone(self) -> None:
        """Close the microphone and remove the callbacks."""
        self.on_samples = self.on_end = _ignore
        self.send("close")

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
            error = message.error.to_py()
            answer.set_exception(PageError(error["kind"], error["message"], error.get("fields") or {}))
        else:
            answer.set_result(getattr(message, "value", None))


def _blob_url(module: str) -> str:
    """The URL of a Blob with a JavaScript module; it exists as long as the worker."""
    return str(URL.createObjectURL(Blob.new(to_js([module]), js_object({"type": "text/javascript"}))))


def _ignore(*values: object) -> None:
    """The default callback."""
