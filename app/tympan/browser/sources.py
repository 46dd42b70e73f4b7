"""Input files: chosen, dropped, pasted, or given by URL."""

from pyscript import document

from tympan.browser.elements import element, on


class Sources:
    """Reports every file and every URL that the user provides."""

    def __init__(self, on_file, on_address):
        """on_file: called with each File. on_address: called with the URL of a recording."""
        self._on_file = on_file
        self._depth = 0  # number of nested elements under the drag
        on("file", "change", self._chosen)

        def submit(event):
            event.preventDefault()
            on_address(element("recording-address").value.strip())
            element("recording-address").value = ""

        on("from-address", "submit", submit)
        document.addEventListener("paste", lambda event: self._accept(event, event.clipboardData))
        document.addEventListener("drop", self._dropped)
        document.addEventListener("dragover", lambda event: event.preventDefault())
        document.addEventListener("dragenter", lambda event: self._drag(event, 1))
        document.addEventListener("dragleave", lambda event: self._drag(event, -1))

    def _chosen(self, event):
        for file in event.target.files:
            self._on_file(file)
        event.target.value = ""  # so that choosing the same file again fires the event

    def _dropped(self, event):
        self._depth = 0
        document.body.classList.remove("dropping")
        event.preventDefault()
        self._accept(event, event.dataTransfer)

    def _accept(self, event, data):
        if data and data.files.length:
            event.preventDefault()
            for file in data.files:
                self._on_file(file)

    def _drag(self, event, step):
        self._depth += step
        has_files = bool(event.dataTransfer) and event.dataTransfer.types.includes("Files")
        document.body.classList.toggle("dropping", has_files and self._depth > 0)
