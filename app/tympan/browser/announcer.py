"""What a screen reader says of its own accord: what is heard, a sentence at a time, and what the page does."""

from pyscript import window

from tympan.browser.elements import element

OFTEN_S = 4  # no two announcements come closer
LONGEST_WAIT_S = 12  # words without the end of a sentence wait no longer
SENTENCE_ENDS = (".", "!", "?", "…")


class Announcer:
    """Texts for a polite live region, collected so that they do not flood."""

    def __init__(self):
        self._words = []
        self._since_s = self._last_s = _now_s()

    def say(self, text):
        """Say one thing at once."""
        self._show("doing-aloud", text)

    def hear(self, words):
        """Take the texts of new words; say them when a sentence is whole or the wait is long."""
        if words and not self._words:
            self._since_s = _now_s()
        self._words += words
        now_s = _now_s()
        if not self._words or now_s - self._last_s < OFTEN_S:
            return
        if self._words[-1].endswith(SENTENCE_ENDS) or now_s - self._since_s >= LONGEST_WAIT_S:
            self.flush()

    def flush(self):
        """Say what is left."""
        if self._words:
            self._show("heard-aloud", " ".join(self._words))
            self._words = []
            self._last_s = _now_s()

    def _show(self, name, text):
        element(name).textContent = text


def _now_s():
    return window.performance.now() / 1000
