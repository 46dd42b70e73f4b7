"""The waveform: the level of every frame, how far the recording is transcribed, and the position of the player.

It is drawn from a list of levels when something changes, and not while the tab is hidden.
"""

from pyscript import document, window

from tympan.browser.elements import element, on
from tympan.protocol import FRAME_S

BAR_PX, GAP_PX = 3, 1
DRAW_INTERVAL_MS = 80  # between two drawings
MIN_HEIGHT = 0.02  # of a bar, so that silence is a line


class Waveform:
    """A canvas. Live audio moves through it from right to left; a whole recording fills it."""

    def __init__(self, on_seek):
        """on_seek: called with the time in seconds that was clicked."""
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
        """Remove the recording."""
        self._levels = []  # of every frame, 0 to 1
        self._loudest = 0.1
        self._bars, self._bars_of = [], None  # levels of the bars, and what they were computed for
        self._transcribed_s, self._playing_s = 0.0, None
        self._is_live = False
        element("waveform").hidden = True

    def begin_live(self):
        """Show that live audio begins."""
        self.clear()
        self._is_live = True
        element("waveform").hidden = False

    def add(self, samples):
        """Add a frame of live audio: a Float32Array."""
        self._add(level(samples))
        self._ask_to_draw()

    def end_live(self):
        """Show the whole of the live audio."""
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

    def show_transcribed(self, seconds):
        """Show how far the recording is transcribed."""
        self._transcribed_s = seconds
        self._ask_to_draw()

    def show_all_transcribed(self):
        """Show that the recording is transcribed to its end."""
        self.show_transcribed(len(self._levels) * FRAME_S)

    def show_playing(self, seconds):
        """Show the position of the player, None when it is closed."""
        self._playing_s = seconds
        self._ask_to_draw()

    def _add(self, loudness):
        self._levels.append(loudness)
        self._loudest = max(self._loudest, loudness)

    def _ask_to_draw(self):
        """Draw now, or DRAW_INTERVAL_MS after the last drawing."""
        wait_ms = self._drawn_ms + DRAW_INTERVAL_MS - window.performance.now()
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
        transcribed, waiting, position = (style.getPropertyValue(name) for name in ("--accent", "--wave", "--ink"))
        context.setTransform(scale, 0, 0, scale, 0, 0)
        context.clearRect(0, 0, width, height)
        first, frames_per_bar = self._span(_n_bars(width))
        n_transcribed = self._transcribed_s / FRAME_S  # frames
        context.fillStyle = transcribed
        is_transcribed = True
        for bar, loudness in enumerate(self._bar_levels(_n_bars(width))):
            if is_transcribed and first + bar * frames_per_bar >= n_transcribed:
                is_transcribed = False
                context.fillStyle = waiting
            bar_height = max(MIN_HEIGHT, loudness / self._loudest) * height
            context.fillRect(bar * (BAR_PX + GAP_PX), (height - bar_height) / 2, BAR_PX, bar_height)
        context.fillStyle = position
        for seconds in (self._transcribed_s if n_transcribed < len(self._levels) - 1 else None, self._playing_s):
            if seconds is not None:
                x = (seconds / FRAME_S - first) / frames_per_bar * (BAR_PX + GAP_PX)
                context.fillRect(x, 0, 1.5, height)

    def _bar_levels(self, n_bars):
        """The level of each bar. Those of a whole recording are kept: reading every frame takes long for an hour."""
        if self._is_live:
            return self._levels[-n_bars:]
        if self._bars_of != (n_bars, len(self._levels)):
            first, frames_per_bar = self._span(n_bars)
            starts = [int(first + bar * frames_per_bar) for bar in range(n_bars)]
            n = max(1, int(frames_per_bar))
            self._bars = [max(self._levels[start : start + n]) for start in starts if start < len(self._levels)]
            self._bars_of = n_bars, len(self._levels)
        return self._bars

    def _span(self, n_bars):
        """The frame where the first bar starts, and the number of frames per bar."""
        if self._is_live:
            return max(0, len(self._levels) - n_bars), 1
        return 0, len(self._levels) / n_bars

    def _click(self, event):
        first, frames_per_bar = self._span(_n_bars(element("waveform").clientWidth))
        self._on_seek((first + event.offsetX / (BAR_PX + GAP_PX) * frames_per_bar) * FRAME_S)


def _n_bars(width):
    return max(1, int(width // (BAR_PX + GAP_PX)))


def level(samples):
    """The highest sample, 0 to 1. samples: a Float32Array, short enough to be passed as arguments."""
    return min(1.0, max(0.0, float(window.Math.max.apply(None, samples))))
