"""The browser's storage for this site. A worker may write to it; only a page may ask to make it persistent.

If the user has blocked storage, nothing is kept. Pages over plain http have no `navigator.storage`.
"""

import json

from pyscript import window

from tympan.browser.promises import JsError, called, settled


async def ask_to_persist():
    """Ask the browser not to delete downloaded models when the disk fills up. It may refuse."""
    storage = getattr(window.navigator, "storage", None)
    if storage:
        try:
            await settled(storage.persist())
        except JsError:
            return


async def used_bytes():
    """How many bytes are stored."""
    storage = getattr(window.navigator, "storage", None)
    if not storage or not hasattr(storage, "estimate"):
        return 0
    try:
        estimate = await settled(storage.estimate())
    except JsError:
        return 0
    return json.loads(str(window.JSON.stringify(estimate))).get("usage", 0)  # may be over 32 bits


async def recall(name):
    """The text that `remember` last stored under a name, or None."""
    try:
        return await called((await _texts()).getItem, name)
    except JsError:
        return None


async def remember(name, text):
    """Keep a short text for later visits."""
    try:
        storage = await _texts()
        await called(storage.setItem.bind(storage, name), text)
    except JsError:
        return


async def _texts():
    """The browser's localStorage. Raises JsError where it is forbidden."""
    return await called(window.Reflect.get.bind(None, window), "localStorage")
