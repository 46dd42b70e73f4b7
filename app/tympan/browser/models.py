"""What the page shows of models that are not loaded: those to choose from, and one that waits for a person's word."""

import json

from pyscript import document, window

from tympan.browser.promises import JsError, settled
from tympan.browser.view import MEGABYTE, element, paragraph


class Models:
    """The catalogue, the field for an address, what is stored, and the offer of a download."""

    def __init__(self, on_choice, on_delete):
        """on_choice: called with the id or address of a model. on_delete: called when downloads are to go."""
        self._on_choice = on_choice

        def submitted(event):
            event.preventDefault()
            on_choice(element("address").value.strip(), False)

        element("elsewhere").addEventListener("submit", submitted)
        element("delete-models").addEventListener("click", lambda event: on_delete())

    async def show_catalogue(self, url):
        """List the models of the site. One that cannot be read stays empty: loading its model will say why."""
        try:
            response = await settled(window.fetch(url))
            catalogue = json.loads(await settled(response.text()))
        except (JsError, ValueError):
            return
        for model in catalogue.get("models", []):
            element("catalogue").append(self._card(model))

    def show_stored(self, n_bytes):
        element("stored").textContent = f"This site keeps {n_bytes / MEGABYTE:.0f} MB on your device."

    def show_offer(self, offer, on_download):
        """Tell what a download would mean. offer: what the engine tells of it."""
        size = f"{offer['missing'] / MEGABYTE:.0f} MB"
        facts = [", ".join(offer["languages"]), offer["licence"], offer["source"]]
        section = element("offer")
        section.replaceChildren(
            _heading(offer["title"]),
            paragraph(" · ".join(facts)),
            paragraph(offer["notes"]),
            paragraph(f"{size} from {offer['host']}, kept on your device for the next time."),
            _button("download", f"Download {size}", on_download),
        )
        section.hidden = False

    def hide_offer(self):
        element("offer").hidden = True
        element("offer").replaceChildren()

    def _card(self, model):
        size = f"{model['bytes'] / MEGABYTE:.0f} MB"
        facts = [", ".join(model["languages"]), size, model["licence"]]
        use = "Use"
        if "hub" in model:
            use = f"Download {size} and use"
            facts += [model["attribution"], f"from {window.URL.new(model['hub']['host']).host}"]
        card = document.createElement("li")
        card.append(
            _heading(model["title"]),
            paragraph(" · ".join(facts)),
            paragraph(model["notes"]),
            # All that is to be known of it stands beside the button.
            _button(f"use-{model['id']}", use, lambda: self._on_choice(model["id"], True)),
        )
        return card


def _heading(text):
    heading = document.createElement("h2")
    heading.textContent = text
    return heading


def _button(name, text, on_press):
    button = document.createElement("button")
    button.type, button.id, button.textContent = "button", name, text
    button.addEventListener("click", lambda event: on_press())
    return button
