"""Loads the model that the user or the address selects, and deletes stored ones."""

import asyncio

from pyscript import window

from tympan.browser import bridge
from tympan.browser.bridge import failure, result, to_python
from tympan.browser.models import Models
from tympan.browser.storage import ask_to_persist, used_bytes


class ModelLoader:
    """Loads one model at a time, and asks the user before a large download."""

    def __init__(self, lock, view, on_loaded, on_error):
        """lock: held while the engine is in use. view: the page's `View`.

        on_loaded: called when a model is loaded. on_error: called with an error and a function that tries again.
        """
        self._lock, self._view, self._on_loaded, self._on_error = lock, view, on_loaded, on_error
        self._models = Models(
            on_choice=lambda model, agreed: asyncio.create_task(self.load(model, agreed)),
            on_delete=self.press_delete,
        )
        self.model = {}  # the engine's description of the loaded model
        self.has_model = asyncio.Event()

    async def show_catalogue(self, url):
        """List the models of the site's catalogue."""
        await self._models.show_catalogue(url)

    def enable(self, is_enabled):
        """Allow or forbid to choose another model."""
        self._models.enable(is_enabled)

    async def load(self, model, agreed=False):
        """Load a model and replace the previous one, which stays loaded after an error.

        model: a catalogue id or an address. agreed: whether the user has agreed to its download.
        """
        async with self._lock:
            self._view.begin_loading()
            self._models.enable(False)
            self._models.hide_offer()
            try:
                offer = to_python(await result(bridge.engine.offer(model)))
                if offer["must_ask"] and not agreed:
                    self._ask(model, offer)
                    return
                if offer["missing"] and agreed:
                    asyncio.create_task(ask_to_persist())  # which settles when the user answers Firefox
                loaded = await result(bridge.engine.open(model))
            except Exception as error:
                self._fail(model, agreed, error)
            else:
                self._show_loaded(loaded)
            self._models.show_stored(await used_bytes())

    def update(self, changes):
        """Show changes of the loaded model: another backend after the GPU was lost. changes: a JavaScript object."""
        self.model.update(to_python(changes))
        self._models.show_loaded(self.model)

    def press_delete(self):
        """Delete downloaded models, to free storage, when the engine is free."""
        asyncio.create_task(self._delete())

    def _ask(self, model, offer):
        """Ask the user before a large download."""
        self._view.hide_progress()
        self._view.show_state("idle", "ask")
        self._models.enable(True)
        self._models.show_offer(offer, on_download=lambda: asyncio.create_task(self.load(model, agreed=True)))

    def _show_loaded(self, loaded):
        """Show the loaded model, and resolve `tympan.ready`. loaded: a JavaScript object."""
        self.model = to_python(loaded)
        self._models.show_loaded(self.model)
        self._on_loaded()
        self.has_model.set()
        window.tympan.open(loaded)

    def _fail(self, model, agreed, error):
        """Show the error, and reject `tympan.ready` unless another model is loaded."""
        self._models.enable(True)
        self._on_error(error, lambda: asyncio.create_task(self.load(model, agreed)))
        if not self.has_model.is_set():
            window.tympan.open(failure(error))

    async def _delete(self):
        async with self._lock:
            await result(bridge.engine.request("delete_models"))
            self._models.show_stored(await used_bytes())
