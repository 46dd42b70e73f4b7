"""The transcript on the page: words in paragraphs, the word in progress marked as not final.

With audio to play, a click on a word plays from there. One word at a time is in the tab order; the arrow keys move
from it.

The cost of an update does not depend on the length of the transcript: paragraphs are short and laid out independently
of each other (`contain` in style.css), the page scrolls only while its end is visible, and the words of fast updates
are drawn together.
"""

from pyscript import document, window

from tympan.browser.elements import element, made, on
from tympan.browser.language import language

PARAGRAPH_PAUSE_S = 2.0  # a pause this long between two words starts a paragraph
# Speech without such a pause is broken too, as the browser lays out a whole paragraph for every new word: after
# LONG_PARAGRAPH words at the next sentence or short pause, after LONGEST_PARAGRAPH words in any case.
LONG_PARAGRAPH, LONGEST_PARAGRAPH = 100, 150
SHORT_PAUSE_S = 0.4
SENTENCE_ENDS = (".", "!", "?", "…")
STEPS = {"ArrowRight": 1, "ArrowLeft": -1, "ArrowDown": 12, "ArrowUp": -12}  # words
NEAR_END_PX = 80  # the transcript follows new words unless it is scrolled up further than this
PAUSE_PER_DRAWING = 4  # times its duration before the next drawing, so drawing takes at most a fifth of the time
MAX_PAUSE_MS = 100


class Transcript:
    """The words of one recording."""

    def __init__(self, on_play):
        """on_play: called with the time in seconds to play from."""
        self._on_play = on_play
        self._threshold = 0.0
        self._timer = None
        self._next_ms = 0.0  # no drawing before this time
        self.clear()
        on("transcript", "click", self._click)
        on("transcript", "keydown", self._press)
        on("transcript", "scroll", self._scroll)
        language.on_change.append(self._describe)

    @property
    def text(self):
        """The whole transcript, one line per paragraph."""
        ends = self._starts[1:] + [len(self.words)]
        paragraphs = [self.words[start:end] for start, end in zip(self._starts, ends)]
        return "\n".join([" ".join([word["text"] for word in words]) for words in paragraphs])

    def clear(self, spoken_language=""):
        """Remove all words. spoken_language: code of the next recording's language, "" if it has several."""
        self._cancel_timer()
        self.words = []  # as in an update of the engine
        self._n_drawn = 0
        self._starts, self._paragraphs = [], []  # index of the first word of each paragraph, and its <p>
        self._partial_text, self._partial = "", None  # the word in progress, and its element
        self._is_playable = False
        self._follows = True
        self._focusable = self._playing = None  # index of the word in the tab order, and of the one being played
        box = element("transcript")
        box.replaceChildren()
        box.lang = spoken_language
        self._describe()

    def add(self, words, partial=""):
        """Add new words. partial: text of the word in progress. They are drawn now or within MAX_PAUSE_MS."""
        self.words += words
        self._partial_text = partial
        wait_ms = self._next_ms - window.performance.now()
        if wait_ms <= 0:
            self._draw()
        elif self._timer is None:
            self._timer = window.setTimeout(self._draw, wait_ms)

    def finish(self, words):
        """Draw the rest of a recording that has ended. words: all of its words, whose times are final now."""
        self.words, self._partial_text = words, ""
        self._draw()

    def show(self, words):
        """Draw a stored recording and scroll to its beginning."""
        self.finish(words)
        element("transcript").scrollTop = 0

    def make_playable(self):
        """Let words be pressed to play from them."""
        self._is_playable = True
        if self._n_drawn:
            self._make_focusable(0)
        self._describe()

    def mark(self, seconds):
        """Mark the word that is being played. seconds: position of the player, None when it is closed."""
        playing = None if seconds is None else self._index_at(seconds)
        if playing == self._playing:
            return
        if self._playing is not None:
            self._span(self._playing).classList.remove("playing")
        self._playing = playing
        if playing is not None:
            self._span(playing).classList.add("playing")

    def dim(self, threshold):
        """Dim the words with a lower confidence than `threshold`."""
        self._threshold = threshold
        for n in range(self._n_drawn):
            self._span(n).classList.toggle("doubtful", self._is_doubtful(self.words[n]))

    def _is_doubtful(self, word):
        return word.get("confidence", 1.0) < self._threshold  # words that earlier versions stored have none

    def _describe(self):
        element("transcript").classList.toggle("playable", self._is_playable)
        element("words-hint").hidden = not self._is_playable

    def _cancel_timer(self):
        if self._timer is not None:
            window.clearTimeout(self._timer)
            self._timer = None

    def _draw(self):
        """Bring the page up to date with `words` and the word in progress."""
        self._cancel_timer()
        started_ms = window.performance.now()
        if self._partial:
            self._partial.remove()
            self._partial = None
        for n in range(self._n_drawn, len(self.words)):
            self._append(n)
        self._n_drawn = len(self.words)
        if self._partial_text:
            if not self._paragraphs:
                self._begin_paragraph(0, 0)
            self._partial = made("span", self._partial_text, className="partial")
            self._paragraphs[-1].append(self._partial)
        if self._follows and not document.hidden:
            box = element("transcript")
            box.scrollTop = box.scrollHeight
        ended_ms = window.performance.now()
        self._next_ms = ended_ms + min(PAUSE_PER_DRAWING * (ended_ms - started_ms), MAX_PAUSE_MS)

    def _append(self, n):
        word = self.words[n]
        if self._begins_paragraph(n):
            self._begin_paragraph(n, word["start"])
        span = made("span", word["text"], className="word doubtful" if self._is_doubtful(word) else "word")
        span.dataset.n = n
        self._paragraphs[-1].append(span, " ")
        if self._is_playable and self._focusable is None:
            self._make_focusable(0)

    def _begins_paragraph(self, n):
        """Whether word `n` starts a paragraph."""
        if n == 0:
            return not self._paragraphs  # the first word in progress may have started one
        before = self.words[n - 1]
        pause_s = self.words[n]["start"] - before["end"]
        n_words = n - self._starts[-1]
        is_break = before["text"].endswith(SENTENCE_ENDS) or pause_s >= SHORT_PAUSE_S
        return pause_s >= PARAGRAPH_PAUSE_S or n_words >= LONGEST_PARAGRAPH or (n_words >= LONG_PARAGRAPH and is_break)

    def _begin_paragraph(self, n, seconds):
        paragraph = made("p")
        paragraph.dataset.time = clock(seconds)
        element("transcript").append(paragraph)
        self._paragraphs.append(paragraph)
        self._starts.append(n)

    def _span(self, n):
        """The element of word `n`. None are kept here: thousands of references would slow down every collection."""
        low, high = 0, len(self._starts)  # the last paragraph that starts at or before n
        while high - low > 1:
            middle = (low + high) // 2
            if self._starts[middle] <= n:
                low = middle
            else:
                high = middle
        return self._paragraphs[low].children[n - self._starts[low]]

    def _make_focusable(self, n, moves_focus=False):
        """Put word `n` in the tab order instead of another one; only it is a button to a screen reader."""
        if self._focusable not in (None, n):
            before = self._span(self._focusable)
            before.removeAttribute("tabindex")
            before.removeAttribute("role")
        self._focusable = n
        span = self._span(n)
        span.setAttribute("tabindex", "0")
        span.setAttribute("role", "button")
        if moves_focus:
            span.focus()

    def _scroll(self, event):
        """Follow new words only while the end is in view. Events of our own scrolling find it there."""
        box = element("transcript")
        self._follows = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX

    def _click(self, event):
        span = event.target.closest(".word")
        if span and self._is_playable:
            self._play(int(span.dataset.n))

    def _press(self, event):
        if not self._is_playable or self._focusable is None:
            return
        key, last = str(event.key), self._n_drawn - 1
        if key in STEPS:
            self._make_focusable(min(max(self._focusable + STEPS[key], 0), last), moves_focus=True)
        elif key in ("Home", "End"):
            self._make_focusable(0 if key == "Home" else last, moves_focus=True)
        elif key in ("Enter", " "):
            self._play(self._focusable)
        else:
            return
        event.preventDefault()

    def _play(self, n):
        self._make_focusable(n)
        self._on_play(self.words[n]["start"])

    def _index_at(self, seconds):
        """Index of the last drawn word that starts at or before `seconds`, None before the first."""
        low, high = 0, self._n_drawn
        while low < high:
            middle = (low + high) // 2
            if self.words[middle]["start"] <= seconds:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low else None


def clock(seconds):
    """Format a time as 1:02 or 1:01:02."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
