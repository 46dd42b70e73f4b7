"""Where a caption line begins, word by word, so that captions can grow while somebody speaks; and how it is written.

MicroPython imports this module too, so it imports nothing itself.
"""

LONGEST_LINE = 42  # characters: what fits a caption line at a common size
LONGEST_CUE_S = 6.0
PAUSE_S = 0.8  # a pause this long ends a cue


class Cues:
    """Remembers the line that is being filled."""

    def __init__(self) -> None:
        self._n_characters = 0
        self._start = self._end = 0.0

    def begins(self, text: str, start: float, end: float) -> bool:
        """Take the next word, its times in seconds. Returns whether a new line begins with it."""
        is_new = (
            not self._n_characters
            or self._n_characters + 1 + len(text) > LONGEST_LINE
            or end - self._start > LONGEST_CUE_S
            or start - self._end > PAUSE_S
        )
        if is_new:
            self._n_characters, self._start = len(text), start
        else:
            self._n_characters += 1 + len(text)
        self._end = end
        return is_new


def markup(text: str) -> str:
    """A text as WebVTT writes it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
