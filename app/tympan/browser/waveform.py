"""The waveform: how loud every frame is, how far the text has come, and where playback is.

Drawn when something changes, from a list of levels; a hidden tab draws nothing and misses nothing.
"""

from pyscript import document, window

from tympan.browser.elements import element, on
from tympan.protocol import FRAME_S

BAR_PX, GAP_PX = 3, 1
OFTEN_MS = 80  # between two drawings
QUIETEST = 0.02  # a bar is never lower: a line where nothing is heard


class Waveform:
    """A canvas. A voice runs through it from right to left; a whole recording fills it."""

    def __init__(self, on_seek):
        """on_seek: called with the time that a person points at."""
        self._on_seek = on_seek
        self._drawn_ms = 0.0
        self._timer = None
        self.clear()
        on("waveform", "click", self._click)
        window.ResizeObserver.new(lambda entries, observer: self._draw()).observe(element("waveform"))
        document.addEventListener("visibilitychange", lambda event: self._draw())
        scheme = window.matchMedia("(prefers-color-scheme: dark)")
        scheme.addEventListener("change", lambda event: self._draw())

    def clear(self):
        self._levels = []  # of every frame, 0 to 1
        self._loudest = 0.1
        self._reached_s, self._played_s = 0.0, None
        self._is_live = False
        element("waveform").hidden = True

    def begin_live(self):
        """A voice begins."""
        self.clear()
        self._is_live = True
        element("waveform").hidden = False

    def hear(self, samples):
        """Take one frame of a voice: a Float32Array."""
        self._add(level(samples))
        self._ask_to_draw()

    def end_live(self):
        """Show all of it."""
        self._is_live = False
        self._draw()

    def show(self, samples, rate_hz):
        """Show a whole recording: a Float32Array."""
        self.clear()
        n = int(rate_hz * FRAME_S)
        for start in range(0, samples.length, n):
            self._add(level(samples.subarray(start, start + n)))
        element("waveform").hidden = False
        self._draw()

    def reach(self, seconds):
        """The text is this far."""
        self._reached_s = seconds
        self._ask_to_draw()

    def reach_end(self):
        self.reach(len(self._levels) * FRAME_S)

    def play(self, seconds):
        """Playback is here; None where nothing plays."""
        self._played_s = seconds
        self._ask_to_draw()

    def _add(self, loudness):
        self._levels.append(loudness)
        self._loudest = max(self._loudest, loudness)

    def _ask_to_draw(self):
        """Draw now, or in a moment if that was just done."""
        wait_ms = self._drawn_ms + OFTEN_MS - window.performance.now()
        if wait_ms <= 0:
            self._draw()
        elif self._timer is None:
            self._timer = window.setTimeout(self._draw, wait_ms)

    def _draw(self):
        if self._timer is not None:
            window.clearTimeout(self._timer)
            self._timer = None
        self._drawn_ms = window.performance.now()
        canvas = element("waveform")
        if document.hidden or canvas.hidden or not self._levels:
            return
        scale = window.devicePixelRatio
        width, height = canvas.clientWidth, canvas.clientHeight
        if canvas.width != int(width * scale) or canvas.height != int(height * scale):
            canvas.width, canvas.height = int(width * scale), int(height * scale)
        self._paint(canvas.getContext("2d"), scale, width, height)

    def _paint(self, context, scale, width, height):
        style = window.getComputedStyle(element("waveform"))
        heard, waiting, place = (style.getPropertyValue(name) for name in ("--accent", "--wave", "--ink"))
        context.setTransform(scale, 0, 0, scale, 0, 0)
        context.clearRect(0, 0, width, height)
        n_bars = max(1, int(width // (BAR_PX + GAP_PX)))
        first, frames_a_bar = self._span(n_bars)
        reached = self._reached_s / FRAME_S
        context.fillStyle = heard
        is_heard = True
        for bar in range(n_bars):
            begin = first + bar * frames_a_bar
            if begin >= len(self._levels):
                break
            if is_heard and begin >= reached:
                is_heard = False
                context.fillStyle = waiting
            loudest = max(self._levels[int(begin) : max(int(begin) + 1, int(begin + frames_a_bar))])
            tall = max(QUIETEST, loudest / self._loudest) * height
            context.fillRect(bar * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall)
        context.fillStyle = place
        for seconds in (self._reached_s if reached < len(self._levels) - 1 else None, self._played_s):
            if seconds is not None:
                x = (seconds / FRAME_S - first) / frames_a_bar * (BAR_PX + GAP_PX)
                context.fillRect(x, 0, 1.5, height)

    def _span(self, n_bars):
        """The frame that the first bar stands for, and how many frames a bar stands for."""
        if self._is_live:
            return max(0, len(self._levels) - n_bars), 1
        return 0, len(self._levels) / n_bars

    def _click(self, event):
        canvas = element("waveform")
        n_bars = max(1, int(canvas.clientWidth // (BAR_PX + GAP_PX)))
        first, frames_a_bar = self._span(n_bars)
        self._on_seek((first + event.offsetX / (BAR_PX + GAP_PX) * frames_a_bar) * FRAME_S)


def level(samples):
    """The highest sample, 0 to 1. samples: a Float32Array, so short that it can be a list of arguments."""
    return min(1.0, max(0.0, float(window.Math.max.apply(None, samples))))
