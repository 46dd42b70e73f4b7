"""The language of the page: English or French, as the browser prefers or a person has chosen."""

import asyncio

from pyscript import document, window
from pyscript.ffi import to_js

from tympan.browser.english import ENGLISH
from tympan.browser.french import FRENCH, FRENCH_SENTENCES
from tympan.browser.storage import recall, remember

TABLES = {"en": ENGLISH, "fr": FRENCH}
STORED = "tympan.language"

# What an attribute of index.html sets: the text of an element, or one of its attributes.
ATTRIBUTES = {
    "data-text": None,
    "data-label": "aria-label",
    "data-hint-key": "data-hint",
    "data-first-key": "data-first",
    "data-content": "content",
}


class Language:
    """Texts and numbers of the language that is chosen; `on_change` functions are called when it is another."""

    def __init__(self):
        known = [str(name)[:2] for name in window.navigator.languages if str(name)[:2] in TABLES]
        self.code = known[0] if known else "en"
        self.on_change = []
        self._translate()

    async def recall(self):
        """Change to the language that was chosen at an earlier visit."""
        chosen = await recall(STORED)
        if chosen in TABLES:
            self._change(chosen)

    def toggle(self):
        """Change to the other language, and remember that."""
        self._change("fr" if self.code == "en" else "en")
        asyncio.create_task(remember(STORED, self.code))

    def _change(self, code):
        self.code = code
        self._translate()
        for function in self.on_change:
            function()

    def text(self, key, **values):
        """A text of the table, its {names} filled in."""
        return TABLES[self.code][key].format(**values)

    def error(self, error):
        """The sentence that says what went wrong. error: a TympanError or an EngineError."""
        return self.sentence(getattr(error, "kind", "Bug"), str(error), getattr(error, "fields", {}))

    def sentence(self, kind, message, fields):
        """What Tympan says as `message` in English."""
        if self.code == "en" or kind not in FRENCH_SENTENCES:
            return message
        return FRENCH_SENTENCES[kind].format(reason=fields.get("reason", message), **without(fields, "reason"))

    def number(self, value, n_digits=0):
        options = {"minimumFractionDigits": n_digits, "maximumFractionDigits": n_digits}
        return str(window.Intl.NumberFormat.new(self.code, to_js(options)).format(value))

    def seconds(self, value, n_digits=0):
        return self.text("seconds", n=self.number(value, n_digits))

    def duration(self, seconds):
        """As rough as anyone needs it: 12 s, 3 min 5 s, 80 min."""
        whole = round(seconds)
        if whole < 60:
            return self.text("seconds", n=whole)
        if whole < 3600:
            return self.text("minutes_seconds", minutes=whole // 60, seconds=whole % 60)
        return self.text("minutes", n=whole // 60)

    def milliseconds(self, value):
        return self.text("milliseconds", n=self.number(value, 1 if value < 10 else 0))

    def megabytes(self, n_bytes, n_digits=0):
        return self.text("megabytes", n=self.number(n_bytes / 1e6, n_digits))

    def date(self, iso):
        """Day and time of a moment, as in 2026-11-22T21:30:00Z."""
        options = {"dateStyle": "medium", "timeStyle": "short"}
        return str(window.Intl.DateTimeFormat.new(self.code, to_js(options)).format(window.Date.new(iso)))

    def _translate(self):
        """Set every text that stands in index.html."""
        document.documentElement.lang = self.code
        for source, target in ATTRIBUTES.items():
            for found in document.querySelectorAll(f"[{source}]"):
                text = TABLES[self.code][found.getAttribute(source)]
                if target:
                    found.setAttribute(target, text)
                else:
                    found.textContent = text


def without(fields, name):
    return {key: value for key, value in fields.items() if key != name}


language = Language()
