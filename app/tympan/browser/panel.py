"""The panel "Performance": figures measured on completed work."""

from pyscript import window

from tympan.browser.elements import element, made
from tympan.browser.language import language
from tympan.browser.models import mimi_kernels

FIGURES = ("mimi_ms", "lm_ms", "memory_mb", "backlog_s")
FRAME_MS = 80
SHOW_INTERVAL_MS = 500  # between two drawings of figures that change with every frame
NONE = "–"


class Panel:
    """A list of names and figures, each with its key as `data-figure`."""

    def __init__(self):
        self._model, self._figures = {}, {}
        self._delays = Median()
        self._shown_ms = 0.0
        language.on_change.append(self._show)

    def show_model(self, model):
        """Show what the transformer runs on. model: the description that the engine gives of it."""
        self._model = model
        self._show()

    def begin(self):
        """Reset the figures for another recording."""
        self._figures, self._delays = {}, Median()
        self._show()

    def show(self, message):
        """Show the FIGURES in an update of the engine."""
        self._figures = {name: float(getattr(message, name)) for name in FIGURES}
        if window.performance.now() - self._shown_ms >= SHOW_INTERVAL_MS:
            self._show()

    def add_delays(self, delays_s):
        """Add, for new words of live audio, the seconds from their end to their display."""
        for delay_s in delays_s:
            self._delays.add(delay_s)

    def flush(self):
        """Show figures that were held back."""
        self._show()

    def _show(self):
        self._shown_ms = window.performance.now()
        rows = []
        for key, value in self._rows():
            if value:
                figure = made("dd", value)
                figure.dataset.figure = key
                rows += [made("dt", language.text(key)), figure]
        element("figures").replaceChildren(*rows)

    def _mimi(self, mimi_ms):
        """The time of a frame in Mimi, which is not known where the transformer does not wait for it."""
        if self._model.get("mimi") == self._model.get("backend") == "webgpu":
            return language.text("mimi_with_transformer")
        return NONE if mimi_ms is None else language.milliseconds(mimi_ms)

    def _rows(self):
        figures, model = self._figures, self._model
        mimi_ms, lm_ms = figures.get("mimi_ms"), figures.get("lm_ms")
        return [
            ("mimi", self._mimi(mimi_ms)),
            ("transformer", NONE if lm_ms is None else language.milliseconds(lm_ms)),
            ("real_time_factor", NONE if mimi_ms is None else _real_time(mimi_ms + lm_ms)),
            ("backlog", language.seconds(figures["backlog_s"], 1) if "backlog_s" in figures else NONE),
            ("delay", NONE if self._delays.value is None else language.seconds(self._delays.value, 2)),
            ("memory", language.megabytes(1e6 * figures["memory_mb"]) if "memory_mb" in figures else NONE),
            ("backend", model.get("backend")),
            ("adapter", model.get("runs_on")),
            ("why", language.sentence(**model["why"]) if model else ""),
            ("kernels", language.text(mimi_kernels(model)) if model else ""),
            ("mimi_why", language.sentence(**model["mimi_why"]) if model else ""),
        ]


class Median:
    """The median of seconds, to 10 ms. It counts values instead of keeping them, so it stays small."""

    def __init__(self):
        self._counts, self._n = {}, 0  # by hundredths of a second

    def add(self, seconds):
        key = round(100 * seconds)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._n += 1

    @property
    def value(self):
        """The upper median, None without values."""
        n_below = 0
        for key in sorted(self._counts):
            n_below += self._counts[key]
            if n_below > self._n // 2:
                return key / 100
        return None


def _real_time(frame_ms):
    factor = frame_ms / FRAME_MS
    if factor > 1:
        return language.text("real_time_slow", factor=language.number(factor, 2))
    speed = language.number(1 / max(factor, 0.001), 1)
    return language.text("real_time_note", factor=language.number(factor, 2), times=speed)
