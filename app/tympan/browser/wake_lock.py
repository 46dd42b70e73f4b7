"""Keeps the screen on while listening: a phone that locks itself closes the microphone."""

import asyncio

from pyscript import document, window

from tympan.browser.promises import JsError, settled


class WakeLock:
    """Held from `hold` to `release`. Browsers release it when the page is hidden; it is requested again afterwards."""

    def __init__(self):
        self._lock, self._is_wanted = None, False
        document.addEventListener("visibilitychange", lambda event: self._request_again())

    async def hold(self):
        self._is_wanted = True
        wake_lock = getattr(window.navigator, "wakeLock", None)
        if wake_lock and not document.hidden:
            try:
                self._lock = await settled(wake_lock.request("screen"))
            except JsError:  # a low battery, for example; listening works without it
                self._lock = None
            if not self._is_wanted:
                await self.release()

    async def release(self):
        self._is_wanted = False
        if self._lock:
            await settled(self._lock.release())
            self._lock = None

    def _request_again(self):
        if self._is_wanted and not document.hidden:
            asyncio.create_task(self.hold())
