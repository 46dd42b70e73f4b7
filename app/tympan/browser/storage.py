"""What the browser keeps for this site. A worker may write to it; only a page may ask to keep it for good."""

import json

from pyscript import window

from tympan.browser.promises import JsError, settled


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
    return json.loads(str(window.JSON.stringify(await settled(storage.estimate()))))["usage"]  # may be over 32 bits
