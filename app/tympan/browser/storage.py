"""What the browser keeps for this site. A worker may write to it; only a page may ask to keep it for good.

A person may have forbidden the browser to keep anything; then it forgets.
"""

import json

from pyscript import window

from tympan.browser.promises import JsError, called, settled


async def ask_to_persist():
    """Ask that downloaded models are not thrown away when the disk fills up. A refusal is no trouble."""
    storage = window.navigator.storage
    if storage:
        try:
            await settled(storage.persist())
        except JsError:
            return


async def used_bytes():
    """How much is kept."""
    storage = window.navigator.storage
    if not storage:
        return 0
    try:
        estimate = await settled(storage.estimate())
    except JsError:
        return 0
    return json.loads(str(window.JSON.stringify(estimate)))["usage"]  # may be over 32 bits


async def recall(name):
    """The text that `remember` was last called with under a name, or None."""
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
    """The browser's storage of texts. Raises JsError where it is forbidden."""
    return await called(window.Reflect.get.bind(None, window), "localStorage")
