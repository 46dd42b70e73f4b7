"""Where files come from: picked, dropped, pasted, or named by an address."""

from pyscript import document, window

from tympan.browser.elements import element, on
from tympan.browser.language import language


class Sources:
    """Hands over every File and every address that a person brings."""

    def __init__(self, on_file, on_address):
        """on_file: called with each File. on_address: called with the address of a recording."""
        self._on_file = on_file
        self._depth = 0  # of elements that something is being dragged over
        on("file", "change", self._picked)

        def named(event):
            event.preventDefault()
            on_address(element("recording-address").value.strip())
            element("recording-address").value = ""

        on("from-address", "submit", named)
        document.addEventListener("paste", lambda event: self._take(event, event.clipboardData))
        document.addEventListener("drop", self._dropped)
        document.addEventListener("dragover", lambda event: event.preventDefault())
        document.addEventListener("dragenter", lambda event: self._drag(event, 1))
        document.addEventListener("dragleave", lambda event: self._drag(event, -1))

    def _picked(self, event):
        for file in event.target.files:
            self._on_file(file)
        event.target.value = ""  # so that the same file can be picked again

    def _dropped(self, event):
        self._depth = 0
        document.body.classList.remove("dropping")
        event.preventDefault()
        self._take(event, event.dataTransfer)

    def _take(self, event, data):
        if data and data.files.length:
            event.preventDefault()
            for file in data.files:
                self._on_file(file)

    def _drag(self, event, step):
        self._depth += step
        has_files = bool(event.dataTransfer) and event.dataTransfer.types.includes("Files")
        document.body.classList.toggle("dropping", has_files and self._depth > 0)


def last_name(address):
    """What a recording at an address is called: the last part of its path."""
    path = str(window.URL.new(address, window.location.href).pathname)
    return str(window.decodeURIComponent(path.rstrip("/").split("/")[-1])) or address


def source_name(source):
    """What to call what a script wants to be transcribed."""
    if isinstance(source, str):
        return last_name(source)
    return str(getattr(source, "name", "")) or language.text("recording_name")
