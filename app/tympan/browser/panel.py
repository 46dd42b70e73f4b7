"""Figures of what really happened: of completed work, never of what was hoped for."""

from pyscript import window

from tympan.browser.elements import element, made
from tympan.browser.language import language

FIGURES = ("mimi_ms", "lm_ms", "memory_mb", "backlog_s")
FRAME_MS = 80
OFTEN_MS = 500  # between two looks at figures that change all the time
NONE = "–"


class Panel:
    """A list of names and figures."""

    def __init__(self):
        self._model, self._figures = {}, {}
        self._delays_s = []
        self._shown_ms = 0.0
        language.on_change.append(self._show)

    def show_model(self, model):
        """model: what the engine tells of it."""
        self._model = model
        self._show()

    def begin(self):
        """Another recording: forget the figures of the last."""
        self._figures, self._delays_s = {}, []
        self._show()

    def show(self, message):
        """message: of the engine, with the FIGURES of what is done so far."""
        self._figures = {name: float(getattr(message, name)) for name in FIGURES}
        if window.performance.now() - self._shown_ms >= OFTEN_MS:
            self._show()

    def show_delays(self, delays_s):
        """How long after it began each new word of a voice was on the screen."""
        self._delays_s += delays_s

    def flush(self):
        """Show what has come since the last look."""
        self._show()

    def _show(self):
        self._shown_ms = window.performance.now()
        rows = []
        for key, value in self._rows():
            if value:
                rows += [made("dt", language.text(key)), made("dd", value)]
        element("figures").replaceChildren(*rows)

    def _rows(self):
        figures, model = self._figures, self._model
        mimi_ms, lm_ms = figures.get("mimi_ms"), figures.get("lm_ms")
        return [
            ("mimi", NONE if mimi_ms is None else language.milliseconds(mimi_ms)),
            ("transformer", NONE if lm_ms is None else language.milliseconds(lm_ms)),
            ("real_time_factor", NONE if mimi_ms is None else _real_time(mimi_ms + lm_ms)),
            ("backlog", language.seconds(figures["backlog_s"], 1) if "backlog_s" in figures else NONE),
            ("delay", language.seconds(_median(self._delays_s), 2) if self._delays_s else NONE),
            ("memory", language.megabytes(1e6 * figures["memory_mb"]) if "memory_mb" in figures else NONE),
            ("backend", model.get("backend")),
            ("adapter", model.get("runs_on")),
            ("kernels", language.text(f"kernels_{model['simd']}") if model else ""),
            ("why", language.sentence(**model["why"]) if model else ""),
        ]


def _real_time(frame_ms):
    factor = frame_ms / FRAME_MS
    if factor > 1:
        return language.text("real_time_slow", factor=language.number(factor, 2))
    times = language.number(1 / max(factor, 0.001), 1)
    return language.text("real_time_note", factor=language.number(factor, 2), times=times)


def _median(values):
    return sorted(values)[len(values) // 2]
