"""The language of the page, English or French: the browser's preference or the user's choice."""

import asyncio

from pyscript import document, window
from pyscript.ffi import to_js

from tympan.browser.english import ENGLISH
from tympan.browser.french import FRENCH, FRENCH_SENTENCES
from tympan.browser.storage import recall, remember

TABLES = {"en": ENGLISH, "fr": FRENCH}
SENTENCES = {"fr": FRENCH_SENTENCES}  # of errors and reasons; in English, they are those of the exceptions
STORED = "tympan.language"

# Attributes of index.html that hold the key of a text, and the attribute that it goes to; None for the element's text.
ATTRIBUTES = {
    "data-text": None,
    "data-label": "aria-label",
    "data-hint-key": "data-hint",
    "data-first-key": "data-first",
    "data-content": "content",
}


class Language:
    """Texts and numbers in the current language. The functions in `on_change` are called after it changes."""

    def __init__(self):
        known = [str(name)[:2] for name in window.navigator.languages if str(name)[:2] in TABLES]
        self.code = known[0] if known else "en"
        self.on_change = []
        self._translate()

    async def recall(self):
        """Restore the language chosen on an earlier visit."""
        chosen = await recall(STORED)
        if chosen in TABLES:
            self._change(chosen)

    def toggle(self):
        """Switch to the other language and store the choice."""
        self._change("fr" if self.code == "en" else "en")
        asyncio.create_task(remember(STORED, self.code))

    def _change(self, code):
        self.code = code
        self._translate()
        for function in self.on_change:
            function()

    def text(self, key, **values):
        """The text with this key. values: of its {names}."""
        return TABLES[self.code][key].format(**values)

    def error(self, error):
        """The message of an error. error: a TympanError or an EngineError."""
        return self.sentence(getattr(error, "kind", "Bug"), str(error), getattr(error, "fields", {}))

    def sentence(self, kind, message, fields):
        """A message of Tympan in the current language.

        kind: the error's class or the key of a reason. message: in English. fields: values of the {names}.
        """
        sentences = SENTENCES.get(self.code, {})
        if kind not in sentences:
            return one_full_stop(message)
        reason = fields.get("reason", message)
        return one_full_stop(sentences[kind].format(reason=reason, **without(fields, "reason")))

    def number(self, value, n_digits=0):
        """Format a number. n_digits: after the decimal point."""
        options = {"minimumFractionDigits": n_digits, "maximumFractionDigits": n_digits}
        return str(window.Intl.NumberFormat.new(self.code, to_js(options)).format(value))

    def seconds(self, value, n_digits=0):
        """Format seconds, as in "1.5 s"."""
        return self.text("seconds", n=self.number(value, n_digits))

    def duration(self, seconds):
        """Format a duration roughly: 12 s, 3 min 5 s, 80 min."""
        whole = round(seconds)
        if whole < 60:
            return self.text("seconds", n=whole)
        if whole < 3600:
            return self.text("minutes_seconds", minutes=whole // 60, seconds=whole % 60)
        return self.text("minutes", n=whole // 60)

    def milliseconds(self, value):
        """Format milliseconds, with a decimal below 10."""
        return self.text("milliseconds", n=self.number(value, 1 if value < 10 else 0))

    def megabytes(self, n_bytes, n_digits=0):
        """Format bytes as megabytes of 10**6."""
        return self.text("megabytes", n=self.number(n_bytes / 1e6, n_digits))

    def date(self, iso):
        """Format date and time. iso: as in 2026-11-22T21:30:00Z."""
        options = {"dateStyle": "medium", "timeStyle": "short"}
        return str(window.Intl.DateTimeFormat.new(self.code, to_js(options)).format(window.Date.new(iso)))

    def _translate(self):
        """Set every text of index.html."""
        document.documentElement.lang = self.code
        for source, target in ATTRIBUTES.items():
            for found in document.querySelectorAll(f"[{source}]"):
                text = TABLES[self.code][found.getAttribute(source)]
                if target:
                    found.setAttribute(target, text)
                else:
                    found.textContent = text


def one_full_stop(sentence):
    """The sentence without a second full stop, which comes from a browser's own message inside of it."""
    return sentence[:-1] if sentence.endswith("..") and not sentence.endswith("...") else sentence


def without(fields, name):
    """The fields but one."""
    return {key: value for key, value in fields.items() if key != name}


language = Language()
