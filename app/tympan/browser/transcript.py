"""The transcript: words in paragraphs, the newest still marked as not final, each a place to play from.

Only one word at a time can be reached with the Tab key; the arrow keys go on from it.
"""

from tympan.browser.elements import element, made, on
from tympan.browser.language import language

PARAGRAPH_PAUSE_S = 2.0  # a silence this long between two words begins a paragraph
STEPS = {"ArrowRight": 1, "ArrowLeft": -1, "ArrowDown": 12, "ArrowUp": -12}
NEAR_END_PX = 80  # whoever has not scrolled further up than this sees the newest word


class Transcript:
    """The words of one recording, on the page."""

    def __init__(self, on_play):
        """on_play: called with the time in seconds that a person wants to hear."""
        self._on_play = on_play
        self.clear()
        on("transcript", "click", self._click)
        on("transcript", "keydown", self._press)
        language.on_change.append(self._describe)

    @property
    def text(self):
        """All of it, a paragraph a line."""
        ends = self._paragraph_starts[1:] + [len(self.words)]
        paragraphs = [self.words[start:end] for start, end in zip(self._paragraph_starts, ends)]
        return "\n".join([" ".join([word["text"] for word in words]) for words in paragraphs])

    def clear(self, spoken_language=""):
        """Begin another recording. spoken_language: its code, "" where it may be one of several."""
        self.words, self._spans, self._paragraph_starts = [], [], []  # words: {text, start, end}
        self._paragraph = self._partial = None
        self._is_playable = False
        self._at = self._playing = None  # the word that Tab reaches, and the one that is heard
        box = element("transcript")
        box.replaceChildren()
        box.lang = spoken_language
        self._describe()

    def add(self, words, partial=""):
        """Show new words. partial: the one that is still being said."""
        box = element("transcript")
        follows = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX
        if self._partial:
            self._partial.remove()
            self._partial = None
        for word in words:
            self._append(word)
        if partial:
            self._partial = made("span", partial, className="partial")
            self._current_paragraph().append(self._partial)
        if follows:
            box.scrollTop = box.scrollHeight

    def finish(self, words):
        """The recording is over: all of its words, of which the last may be new."""
        self.add(words[len(self.words) :])
        self.words = words

    def show(self, words):
        """Show a recording that is over, from its beginning."""
        self.finish(words)
        element("transcript").scrollTop = 0

    def make_playable(self):
        """There is sound to play: let words be places to play from."""
        self._is_playable = True
        element("transcript").classList.add("playable")
        if self._spans:
            self._reach(0)
        self._describe()

    def mark(self, seconds):
        """Mark the word that is being played. seconds: None where nothing is."""
        playing = None if seconds is None else self._index_at(seconds)
        if playing == self._playing:
            return
        if self._playing is not None:
            self._spans[self._playing].classList.remove("playing")
        self._playing = playing
        if playing is not None:
            self._spans[playing].classList.add("playing")

    def _describe(self):
        box = element("transcript")
        box.classList.toggle("playable", self._is_playable)
        element("words-hint").hidden = not self._is_playable

    def _append(self, word):
        pause_s = word["start"] - self.words[-1]["end"] if self.words else 0
        if not self.words or pause_s >= PARAGRAPH_PAUSE_S:
            self._paragraph_starts.append(len(self.words))
            if self.words or self._paragraph is None:
                self._begin_paragraph(word["start"])
        span = made("span", word["text"], className="word")
        span.dataset.n = len(self.words)
        self._current_paragraph().append(span, " ")
        self.words.append(word)
        self._spans.append(span)
        if self._is_playable and self._at is None:
            self._reach(0)

    def _current_paragraph(self):
        if self._paragraph is None:
            self._begin_paragraph(0)
        return self._paragraph

    def _begin_paragraph(self, seconds):
        self._paragraph = made("p")
        self._paragraph.dataset.time = clock(seconds)
        element("transcript").append(self._paragraph)

    def _reach(self, n, moves_focus=False):
        """Make one word the one that the Tab key reaches; it alone is a button to a screen reader."""
        if self._at not in (None, n):
            before = self._spans[self._at]
            before.removeAttribute("tabindex")
            before.removeAttribute("role")
        self._at = n
        span = self._spans[n]
        span.setAttribute("tabindex", "0")
        span.setAttribute("role", "button")
        if moves_focus:
            span.focus()

    def _click(self, event):
        span = event.target.closest(".word")
        if span and self._is_playable:
            self._play(int(span.dataset.n))

    def _press(self, event):
        if not self._is_playable or self._at is None:
            return
        key, last = str(event.key), len(self._spans) - 1
        if key in STEPS:
            self._reach(min(max(self._at + STEPS[key], 0), last), moves_focus=True)
        elif key in ("Home", "End"):
            self._reach(0 if key == "Home" else last, moves_focus=True)
        elif key in ("Enter", " "):
            self._play(self._at)
        else:
            return
        event.preventDefault()

    def _play(self, n):
        self._reach(n)
        self._on_play(self.words[n]["start"])

    def _index_at(self, seconds):
        """The last word that has begun, None before the first."""
        low, high = 0, len(self.words)
        while low < high:
            middle = (low + high) // 2
            if self.words[middle]["start"] <= seconds:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low else None


def clock(seconds):
    """1:02, or 1:01:02."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
