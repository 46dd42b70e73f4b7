"""What the page shows. The only module that touches its elements."""

from pyscript import document, window

MEGABYTE = 1e6
SIMD_NAMES = {"relaxed": "relaxed SIMD", "simd": "SIMD", "numpy": "numpy"}
PHASES = {"download": "Downloading the model", "prepare": "Preparing the model"}


def element(name):
    return document.getElementById(name)


class View:
    """The page's elements, by what they say. Text is always set as text, never parsed as HTML."""

    def __init__(self, on_button, on_file, on_cancel):
        """on_button: called on every press of the button. on_file: called with the File that was chosen.
        on_cancel: called when a model that is loading is not wanted any more.
        """
        self._partial = None
        element("microphone").addEventListener("click", lambda event: on_button())
        element("cancel").addEventListener("click", lambda event: on_cancel())

        def chosen(event):
            if event.target.files.length:
                on_file(event.target.files[0])
                event.target.value = ""  # so that the same file can be chosen again

        element("file").addEventListener("change", chosen)

    @property
    def state(self):
        return document.documentElement.dataset.state

    def show_state(self, state, status=""):
        """state: of the page's contract. status: a few words beside the buttons."""
        document.documentElement.dataset.state = state
        busy = state in ("listening", "transcribing")
        element("microphone").textContent = "Stop" if busy else "Listen"
        element("status").textContent = status

    def enable(self, microphone, file):
        """Say which of the buttons can be pressed."""
        element("microphone").disabled = not microphone
        element("file").disabled = not file

    def enable_choice(self, is_enabled):
        """Say whether another model can be chosen now."""
        element("choice").disabled = not is_enabled

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
        text = f"{PHASES[phase]}: {done_bytes / MEGABYTE:.1f} of {total_bytes / MEGABYTE:.1f} MB"
        if rate and seconds_left:
            text += f", {rate / MEGABYTE:.1f} MB/s, {duration(seconds_left)} left"
        element("status").textContent = text

    def show_model(self, model):
        """model: what the engine tells of it."""
        size = f"{model['bytes'] / MEGABYTE:.0f} MB"
        where = f"{model['backend']} on {model['runs_on']} ({model['why']}), Mimi on {SIMD_NAMES[model['simd']]}"
        facts = [model["title"], ", ".join(model["languages"]), size, model["licence"], where]
        if model["host"] != window.location.host:
            facts.append(f"from {model['host']}")
        element("model").replaceChildren(paragraph(" · ".join(facts)), paragraph(model["notes"]))

    def show_heard(self, seconds, total_s, backlog_s):
        """How far the recording is. total_s: its length, or 0 for a voice. backlog_s: sound that waits."""
        if total_s:
            self.show_progress(seconds, total_s)
            element("status").textContent = f"{seconds:.0f} of {total_s:.0f} s"
        else:
            behind = f", {backlog_s:.0f} s behind" if backlog_s >= 1 else ""
            element("status").textContent = f"Listening: {seconds + backlog_s:.0f} s{behind}"

    def show_error(self, message, text="", href="", on_press=None):
        """text: of a way out, which is an address or something to do."""
        error = element("error")
        error.textContent = f"{message} "
        if text:
            way_out = document.createElement("a" if href else "button")
            way_out.textContent = text
            if href:
                way_out.href = href
            else:
                way_out.addEventListener("click", lambda event: on_press())
            error.append(way_out)
        error.hidden = False

    def clear(self):
        """Forget the last error and the last transcript."""
        element("error").hidden = True
        element("error").textContent = ""
        element("transcript").replaceChildren()
        self._partial = None

    def show_words(self, words, partial):
        """words: texts to add. partial: the word that is still being said."""
        transcript = element("transcript")
        if self._partial:
            self._partial.remove()
            self._partial = None
        if words:
            transcript.append(" ".join(words) + " ")
        if partial:
            self._partial = document.createElement("span")
            self._partial.className = "partial"
            self._partial.textContent = partial
            transcript.append(self._partial)

    def show_transcript(self, text):
        """Replace the words by the whole text."""
        self._partial = None
        element("transcript").textContent = text


def duration(seconds):
    """In words, as rough as anyone needs it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def paragraph(text):
    paragraph = document.createElement("p")
    paragraph.textContent = text
    return paragraph
