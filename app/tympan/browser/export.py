"""Exports the transcript to the clipboard or as a file."""

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.elements import element, made, on
from tympan.browser.promises import JsError, settled

FORMATS = ("txt", "srt", "vtt", "json")
TYPES = {"txt": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt", "json": "application/json"}


class Export:
    """The buttons above a transcript."""

    def __init__(self, on_copy, on_save):
        """on_copy: called to copy the text. on_save: called with one of FORMATS."""
        on("copy", "click", lambda event: on_copy())
        for name in FORMATS:
            on(f"save-{name}", "click", lambda event, name=name: on_save(name))

    def enable(self, is_enabled):
        """Show or hide the buttons."""
        element("export").hidden = not is_enabled


async def copy(text):
    """Copy a text to the clipboard. Returns whether that succeeded; over plain http, pages have no clipboard."""
    clipboard = getattr(window.navigator, "clipboard", None)
    if not clipboard:
        return False
    try:
        await settled(clipboard.writeText(text))
    except JsError:
        return False
    return True


def save(text, name, kind):
    """Download a text as a file. kind: one of FORMATS."""
    options = to_js({"type": f"{TYPES[kind]};charset=utf-8"})
    url = window.URL.createObjectURL(window.Blob.new(window.Array.of(text), options))
    made("a", href=url, download=f"{name}.{kind}").click()
    window.setTimeout(lambda: window.URL.revokeObjectURL(url), 1000)
