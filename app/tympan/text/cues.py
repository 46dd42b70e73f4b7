"""Groups words into caption cues incrementally, and escapes text for WebVTT.

MicroPython imports this module too, so it imports nothing itself.
"""

MAX_LINE_CHARACTERS = 42  # what fits a caption line at a common size
MAX_CUE_S = 6.0
PAUSE_S = 0.8  # a pause this long starts a new cue


class Cue:
    """Words that are shown together, as one line. Times are in seconds."""

    def __init__(self, text: str, start: float, end: float) -> None:
        self.text, self.start, self.end = text, start, end
        self.n_words = 1

    def has_room(self, text: str, start: float, end: float) -> bool:
        """Whether the next word belongs to this cue."""
        return (
            len(self.text) + 1 + len(text) <= MAX_LINE_CHARACTERS
            and end - self.start <= MAX_CUE_S
            and start - self.end <= PAUSE_S
        )


class Cues:
    """The cues of a recording, in the list `all`."""

    def __init__(self) -> None:
        self.all: list[Cue] = []

    def add(self, text: str, start: float, end: float) -> Cue:
        """Add the next word. Return its cue, which is new if its `n_words` is 1."""
        if not self.all or not self.all[-1].has_room(text, start, end):
            self.all.append(Cue(text, start, end))
            return self.all[-1]
        cue = self.all[-1]
        cue.text, cue.end = f"{cue.text} {text}", end
        cue.n_words += 1
        return cue


def markup(text: str) -> str:
    """Escape text for WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
