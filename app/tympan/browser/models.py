"""Models on the page: the one that is loaded, the catalogue, and a download to confirm."""

import json

from pyscript import window

from tympan.browser.elements import button, element, made, on
from tympan.browser.language import language
from tympan.browser.promises import JsError, settled

# How a model finds pauses: the engine's word for it, and the text.
PAUSES = {"heads": "pauses_heads", "loudness": "pauses_loudness", "missing": "pauses_missing"}


class Models:
    """The catalogue, the field for a URL, the storage in use, and the offer of a download."""

    def __init__(self, on_choice, on_delete):
        """on_choice: called with the id or URL of a model, and whether its download is confirmed.

        on_delete: called to delete downloaded models.
        """
        self._on_choice = on_choice
        self._catalogue, self._loaded, self._offer, self._n_bytes = [], None, None, 0

        def submitted(event):
            event.preventDefault()
            on_choice(element("address").value.strip(), False)

        on("elsewhere", "submit", submitted)
        on("delete-models", "click", lambda event: on_delete())
        language.on_change.append(self._translate)

    async def show_catalogue(self, url):
        """List the models of the site. An unreadable catalogue stays empty: loading a model reports the error."""
        try:
            response = await settled(window.fetch(url))
            self._catalogue = json.loads(str(await settled(response.text()))).get("models", [])
        except (JsError, ValueError):
            return
        element("catalogue").replaceChildren(*[self._card(model) for model in self._catalogue])

    def enable(self, is_enabled):
        """Allow or forbid to choose another model."""
        element("choice").disabled = not is_enabled

    def show_stored(self, n_bytes):
        """Show how much storage the site uses."""
        self._n_bytes = n_bytes
        element("stored").textContent = language.text("stored", size=language.megabytes(n_bytes))

    def show_loaded(self, model):
        """Show the loaded model. model: the description that the engine gives of it."""
        self._loaded = model
        facts = [model["title"], ", ".join(model["languages"]), language.megabytes(model["bytes"]), model["licence"]]
        facts.append(
            language.text(
                "model_runs",
                backend=model["backend"],
                adapter=model["runs_on"],
                why=language.sentence(**model["why"]),
                kernels=language.text(mimi_kernels(model)),
            )
        )
        facts.append(language.text(PAUSES[model["pauses"]]))
        if model["host"] != window.location.host:
            facts.append(language.text("from_host", host=model["host"]))
        element("model").replaceChildren(_line(facts), _notes(model))

    def show_offer(self, offer, on_download):
        """Ask for confirmation of a download. offer: as the engine describes it. on_download: called if confirmed."""
        self._offer = offer, on_download
        size = language.megabytes(offer["missing"])
        facts = [", ".join(offer["languages"]), offer["licence"], offer["source"]]
        section = element("offer")
        section.replaceChildren(
            made("h2", offer["title"]),
            _line(facts),
            _notes(offer),
            made("p", self._sizes(offer, size)),
            button(language.text("download_size", size=size), on_download, id="download", className="primary"),
        )
        section.hidden = False

    def _sizes(self, offer, size):
        """What is downloaded and what is kept."""
        if offer["converts"]:
            kept = language.megabytes(offer["bytes"])
            return language.text("offer_convert", size=size, host=offer["host"], kept=kept)
        return language.text("offer_size", size=size, host=offer["host"])

    def hide_offer(self):
        """Remove the offer of a download."""
        self._offer = None
        element("offer").hidden = True
        element("offer").replaceChildren()

    def _card(self, model):
        size = language.megabytes(model["bytes"])
        facts = [", ".join(model["languages"]), size, model["licence"]]
        use = language.text("use")
        if "checkpoint" in model:
            size = language.megabytes(model["checkpoint"]["download_bytes"])
            use = language.text("download_and_use", size=size)
            host = window.URL.new(model["hub"]["host"]).host
            offer = {"converts": True, "bytes": model["bytes"], "host": host}
            facts = [", ".join(model["languages"]), model["licence"], model["attribution"], self._sizes(offer, size)]
        elif "hub" in model:
            use = language.text("download_and_use", size=size)
            host = window.URL.new(model["hub"]["host"]).host
            facts += [model["attribution"], language.text("from_host", host=host)]
        card = made("li")
        card.append(
            made("h3", model["title"]),
            _line(facts),
            _notes(model),
            # The card says all that an offer would, so pressing the button confirms the download.
            button(use, lambda: self._on_choice(model["id"], True), id=f"use-{model['id']}", className="small"),
        )
        return card

    def _translate(self):
        element("catalogue").replaceChildren(*[self._card(model) for model in self._catalogue])
        self.show_stored(self._n_bytes)
        if self._loaded:
            self.show_loaded(self._loaded)
        if self._offer:
            self.show_offer(*self._offer)


def mimi_kernels(model):
    """The key of the text for what Mimi runs on."""
    return "kernels_" + (model["simd"] if model["mimi"] == "cpu" else model["mimi"])


def _line(facts):
    """The facts that are not empty, on one line."""
    return made("p", " · ".join([fact for fact in facts if fact]))


def _notes(model):
    """The publisher's notes on a model, which are in English."""
    return made("p", model["notes"], lang="en")
