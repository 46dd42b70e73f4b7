"""The settings of recordings that are kept on this device: the vocabulary, and the silence that ends a turn."""

import asyncio

from tympan.browser.elements import element, on
from tympan.browser.language import language
from tympan.browser.promises import settled
from tympan.browser.storage import recall, remember
from tympan.protocol import MAX_SILENCE_S, MIN_SILENCE_S

TERMS, SILENCE = "terms", "silence"  # names in the storage


class Settings:
    """Reads the controls, and sets the defaults of the engine's client."""

    def __init__(self, engine):
        """engine: the EngineClient. Terms of the page's address are added to those stored; its silence replaces it."""
        self._engine = engine
        self._address_terms = str(engine.terms)
        silence = element("silence")
        silence.min, silence.max, silence.value = MIN_SILENCE_S, MAX_SILENCE_S, engine.silenceS
        on("terms", "input", lambda event: self._keep_terms())
        on("terms-file", "change", lambda event: asyncio.create_task(self._import()))
        on("silence", "input", lambda event: self._keep_silence())
        language.on_change.append(self._show_silence)

    async def recall(self):
        """Restore the settings of an earlier visit."""
        element("terms").value = await recall(TERMS) or ""
        silence = await recall(SILENCE)
        if silence and "silence=" not in str(element("silence").ownerDocument.location.search):
            element("silence").value = silence
        self._apply()

    def _keep_terms(self):
        self._apply()
        asyncio.create_task(remember(TERMS, str(element("terms").value)))

    def _keep_silence(self):
        self._apply()
        asyncio.create_task(remember(SILENCE, str(element("silence").value)))

    async def _import(self):
        """Add the lines of a text file to the vocabulary."""
        files = element("terms-file").files
        if files.length:
            text = str(await settled(files.item(0).text()))
            before = str(element("terms").value).strip()
            element("terms").value = f"{before}\n{text}".strip()
            element("terms-file").value = ""
            self._keep_terms()

    def _apply(self):
        self._engine.terms = f"{element('terms').value}\n{self._address_terms}"
        self._engine.silenceS = float(element("silence").value)
        self._show_silence()

    def _show_silence(self):
        element("silence-value").textContent = language.seconds(float(element("silence").value), 1)
