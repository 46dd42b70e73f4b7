"""Splits words into caption cues incrementally, and escapes text for WebVTT.

MicroPython imports this module too, so it imports nothing itself.
"""

MAX_LINE_CHARACTERS = 42  # what fits a caption line at a common size
MAX_CUE_S = 6.0
PAUSE_S = 0.8  # a pause this long starts a new cue


class Cues:
    """Assigns words to cues. A cue is one line."""

    def __init__(self) -> None:
        self._n_characters = 0
        self._start = self._end = 0.0

    def begins(self, text: str, start: float, end: float) -> bool:
        """Add the next word, times in seconds. Returns whether it starts a new cue."""
        is_new = (
            not self._n_characters
            or self._n_characters + 1 + len(text) > MAX_LINE_CHARACTERS
            or end - self._start > MAX_CUE_S
            or start - self._end > PAUSE_S
        )
        if is_new:
            self._n_characters, self._start = len(text), start
        else:
            self._n_characters += 1 + len(text)
        self._end = end
        return is_new


def markup(text: str) -> str:
    """Escape text for WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
