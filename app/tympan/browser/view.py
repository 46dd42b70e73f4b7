"""What the page is doing: its state, the words beside the buttons, how far it is, and what went wrong."""

from pyscript import document, window

from tympan.browser.elements import button, element, made, on
from tympan.browser.language import language

SPOKEN_STATES = ("ready", "listening", "loading")  # said aloud when they begin; progress is not


class View:
    """The controls, the status and the error. `announcer` says aloud what is said once, not what is counted."""

    def __init__(self, announcer, on_listen, on_tab, on_sample, on_cancel):
        self._announcer = announcer
        self._status = None
        on("microphone", "click", lambda event: on_listen())
        on("tab", "click", lambda event: on_tab())
        on("sample", "click", lambda event: on_sample())
        on("cancel", "click", lambda event: on_cancel())
        on("language", "click", lambda event: language.toggle())
        element("tab").hidden = not hasattr(window.navigator.mediaDevices or window, "getDisplayMedia")  # no phone can
        language.on_change.append(self._translate)

    @property
    def state(self):
        return document.documentElement.dataset.state

    @property
    def is_busy(self):
        return self.state in ("listening", "transcribing")

    def show_state(self, state, key="", **values):
        """state: of the page's contract. key, values: a text for beside the buttons."""
        document.documentElement.dataset.state = state
        element("microphone").textContent = language.text("stop" if self.is_busy else "listen")
        element("tab").disabled = self.is_busy
        if key:
            text = self.show_status(key, **values)
            if state in SPOKEN_STATES:
                self._announcer.say(text)

    def show_status(self, key, **values):
        """Returns the text. values: functions that give one in the language of the moment, or texts that have none."""
        self._status = key, values
        text = language.text(key, **{name: value() if callable(value) else value for name, value in values.items()})
        element("status").textContent = text
        return text

    def show_progress(self, done=None, total=None):
        """A share of what is to be done; without numbers, that something is being done."""
        bar = element("progress")
        bar.hidden = False
        if total:
            bar.value = done / total
        else:
            bar.removeAttribute("value")

    def hide_progress(self):
        element("progress").hidden = True

    def show_loading(self, phase, done_bytes, total_bytes, rate, seconds_left):
        """How far loading is. rate: bytes a second. seconds_left: None where nobody can say."""
        self.show_progress(done_bytes, total_bytes)
        values = {
            "phase": lambda: language.text(phase),
            "done": lambda: language.megabytes(done_bytes, 1),
            "total": lambda: language.megabytes(total_bytes, 1),
        }
        if rate and seconds_left:
            values["rate"] = lambda: language.megabytes(rate, 1)
            values["left"] = lambda: language.duration(seconds_left)
        self.show_status("progress_rate" if rate and seconds_left else "progress", **values)

    def show_heard(self, name, seconds, total_s, backlog_s):
        """How far a recording is. total_s: its length, or 0 for a voice. backlog_s: sound that waits."""
        if total_s:
            self.show_progress(seconds, total_s)
            self.show_status("transcribed", name=name, done=_duration(seconds), total=_duration(total_s))
        elif backlog_s >= 1:
            self.show_status("listening_behind", seconds=_duration(seconds + backlog_s), behind=_duration(backlog_s))
        else:
            self.show_status("listening", seconds=_duration(seconds + backlog_s))

    def begin_loading(self):
        self.hide_error()
        self.show_state("loading", "loading")
        self.show_progress()

    def show_error(self, message, text="", href="", on_press=None):
        """text: of a way out, which is an address or something to do."""
        error = element("error")
        error.textContent = f"{message} "
        if href:
            error.append(made("a", text, href=href))
        elif text:
            error.append(button(text, on_press))
        error.hidden = False

    def hide_error(self):
        element("error").hidden = True
        element("error").textContent = ""

    def _translate(self):
        self.show_state(self.state)
        if self._status:
            key, values = self._status
            self.show_status(key, **values)


def _duration(seconds):
    return lambda: language.duration(seconds)
