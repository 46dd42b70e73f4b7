"""Announcements for screen readers: the transcript sentence by sentence, and changes of the page's state."""

from pyscript import window

from tympan.browser.elements import element
from tympan.browser.transcript import SENTENCE_ENDS

MIN_INTERVAL_S = 4  # between two announcements of the transcript
MAX_WAIT_S = 12  # words without the end of a sentence wait no longer


class Announcer:
    """Writes to polite live regions, and collects words so that they do not flood."""

    def __init__(self):
        self._words = []
        self._since_s = self._last_s = _now_s()

    def say(self, text):
        """Announce a text at once."""
        self._show("state-announcement", text)

    def add(self, words):
        """Collect the texts of new words; announce them at the end of a sentence or after MAX_WAIT_S."""
        if words and not self._words:
            self._since_s = _now_s()
        self._words += words
        now_s = _now_s()
        if not self._words or now_s - self._last_s < MIN_INTERVAL_S:
            return
        if self._words[-1].endswith(SENTENCE_ENDS) or now_s - self._since_s >= MAX_WAIT_S:
            self.flush()

    def flush(self):
        """Announce the words collected so far."""
        if self._words:
            self._show("words-announcement", " ".join(self._words))
            self._words = []
            self._last_s = _now_s()

    def _show(self, name, text):
        element(name).textContent = text


def _now_s():
    return window.performance.now() / 1000
