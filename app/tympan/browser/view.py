"""The state of the page: buttons, status line, progress bar and error message."""

from pyscript import document, window

from tympan.browser.elements import button, element, made, on
from tympan.browser.language import language

DRAW_INTERVAL_MS = 50  # between two drawings of the progress of a file
SPOKEN_STATES = ("ready", "listening", "loading")  # announced to screen readers; progress is not


class View:
    """The controls, the status and the error."""

    def __init__(self, announcer, on_listen, on_tab, on_sample, on_cancel):
        """announcer: announces changes of the state. on_...: called when the button is pressed."""
        self._announcer = announcer
        self._status = None
        self._shown_ms = 0.0  # when the progress of a file was last drawn
        on("microphone", "click", lambda event: on_listen())
        on("tab", "click", lambda event: on_tab())
        on("sample", "click", lambda event: on_sample())
        on("cancel", "click", lambda event: on_cancel())
        on("language", "click", lambda event: language.toggle())
        element("tab").hidden = not can_capture_tab_audio()
        language.on_change.append(self._translate)

    @property
    def state(self):
        """The value of <html data-state>."""
        return document.documentElement.dataset.state

    @property
    def is_busy(self):
        """Whether a recording is in progress, so that the main button stops it."""
        return self.state in ("listening", "transcribing")

    def show_state(self, state, key="", **values):
        """Set the state of the page. key, values: of a text for the status line, as of `show_status`."""
        document.documentElement.dataset.state = state
        element("microphone").textContent = language.text("stop" if self.is_busy else "listen")
        element("tab").disabled = self.is_busy
        if key:
            text = self.show_status(key, **values)
            if state in SPOKEN_STATES:
                self._announcer.say(text)

    def show_status(self, key, **values):
        """Show a text in the status line. values: texts, or functions that return one in the current language.

        Returns the text.
        """
        self._status = key, values
        text = language.text(key, **{name: value() if callable(value) else value for name, value in values.items()})
        element("status").textContent = text
        return text

    def show_progress(self, done=None, total=None):
        """Show the progress bar at `done` of `total`; without them, as indeterminate."""
        bar = element("progress")
        bar.hidden = False
        if total:
            bar.value = done / total
        else:
            bar.removeAttribute("value")

    def hide_progress(self):
        """Hide the progress bar."""
        element("progress").hidden = True

    def show_loading(self, phase, done_bytes, total_bytes, rate, seconds_left):
        """Show the progress of loading. rate: bytes per second. seconds_left: None if unknown."""
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

    def show_transcribed(self, name, seconds, total_s, backlog_s):
        """Show the progress of a recording. total_s: its length, 0 for live audio. backlog_s: of audio to transcribe.

        For a file, updates come faster than the screen can show; most are not drawn.
        """
        if total_s:
            now_ms = window.performance.now()
            if now_ms - self._shown_ms < DRAW_INTERVAL_MS:
                return
            self._shown_ms = now_ms
            self.show_progress(seconds, total_s)
            self.show_status("transcribed", name=name, done=_duration(seconds), total=_duration(total_s))
        elif backlog_s >= 1:
            self.show_status("listening_behind", seconds=_duration(seconds + backlog_s), behind=_duration(backlog_s))
        else:
            self.show_status("listening", seconds=_duration(seconds + backlog_s))

    def begin_loading(self):
        """Show that a model is being loaded."""
        self.hide_error()
        self.show_state("loading", "loading")
        self.show_progress()

    def show_error(self, message, text="", href="", on_press=None):
        """Show an error message. text: of a link to `href`, or of a button that calls `on_press`."""
        error = element("error")
        error.textContent = f"{message} "
        if href:
            error.append(made("a", text, href=href))
        elif text:
            error.append(button(text, on_press))
        error.hidden = False

    def hide_error(self):
        """Remove the error message."""
        element("error").hidden = True
        element("error").textContent = ""

    def _translate(self):
        self.show_state(self.state)
        if self._status:
            key, values = self._status
            self.show_status(key, **values)


def _duration(seconds):
    return lambda: language.duration(seconds)


def can_capture_tab_audio():
    """Whether the browser can share the audio of another tab.

    Phones and plain-http pages lack getDisplayMedia. Firefox and Safari have it without audio, and do not know the
    constraint `suppressLocalAudioPlayback`, which is about the audio of a captured tab.
    """
    devices = getattr(window.navigator, "mediaDevices", None)
    if not devices or not hasattr(devices, "getDisplayMedia"):
        return False
    return bool(getattr(devices.getSupportedConstraints(), "suppressLocalAudioPlayback", False))
