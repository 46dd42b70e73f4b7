"""The controls for doubtful words: whether they are dimmed, and below which confidence a word is doubtful."""

import asyncio

from tympan.browser.elements import element, on
from tympan.browser.storage import recall, remember
from tympan.protocol import DOUBTFUL

STORED = "doubtful"  # name in the storage: the threshold, and "off" if words are not dimmed


class Doubts:
    """Remembers the choice on this device."""

    def __init__(self, on_change):
        """on_change: called with the threshold when it has changed."""
        self._on_change = on_change
        element("doubt-level").value = DOUBTFUL
        on("dim-doubtful", "change", lambda event: self._change())
        on("doubt-level", "input", lambda event: self._change())

    @property
    def threshold(self):
        """Words with a lower confidence are dimmed; 0 if none are."""
        return float(element("doubt-level").value) if element("dim-doubtful").checked else 0.0

    async def recall(self):
        """Restore the choice of an earlier visit."""
        stored = (await recall(STORED) or "").split()
        if stored:
            element("doubt-level").value = stored[0]
            element("dim-doubtful").checked = "off" not in stored
            self._apply()

    def _change(self):
        self._apply()
        level = str(element("doubt-level").value)
        asyncio.create_task(remember(STORED, level if self.threshold else level + " off"))

    def _apply(self):
        element("doubt-level").disabled = not element("dim-doubtful").checked
        self._on_change(self.threshold)
