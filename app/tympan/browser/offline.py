"""The page without a network: a service worker keeps the whole site, and brings new versions of it."""

from pyscript import window

from tympan.browser.elements import button, element
from tympan.browser.language import language
from tympan.browser.promises import JsError, settled

TAKING_OVER_MS = 2500  # within which the new version has begun, or another page has kept the old one


async def ask_for_newest():
    """Begin again as the new version, if one waits and no other page shows the old one: for a page's first moment."""
    workers = getattr(window.navigator, "serviceWorker", None)
    if not workers:  # not over https, or a browser that has none
        return
    try:
        registration = await settled(workers.getRegistration())
    except JsError:  # nothing may be kept
        return
    if getattr(registration, "waiting", None):
        _begin_as_newest(registration)


async def keep_site():
    """Keep the site for visits without a network; say when a newer one has come."""
    workers = getattr(window.navigator, "serviceWorker", None)
    if not workers:
        return
    try:
        options = window.JSON.parse('{"updateViaCache": "none"}')
        registration = await settled(workers.register("service-worker.js", options))
    except JsError:
        return
    if not hasattr(registration, "waiting"):  # refused in silence, as some browsers under test do
        return
    if registration.waiting:
        _announce(registration)

    def found(event):
        worker = registration.installing
        worker.addEventListener("statechange", lambda event: changed(worker))

    def changed(worker):
        if worker.state == "installed" and workers.controller:
            _announce(registration)

    registration.addEventListener("updatefound", found)
    if registration.installing:
        found(None)


def _announce(registration):
    """Offer the new version. It takes over at the next visit in any case."""
    notice = element("new-version")
    notice.textContent = language.text("new_version") + " "
    notice.append(button(language.text("reload"), lambda: _press_reload(registration)))
    notice.hidden = False


def _press_reload(registration):
    """Reload, as the new version unless another page shows the old one."""
    if registration.waiting:
        _begin_as_newest(registration)
        window.setTimeout(_reload, TAKING_OVER_MS)
    else:  # it has taken over meanwhile
        _reload()


def _begin_as_newest(registration):
    window.navigator.serviceWorker.addEventListener("controllerchange", _reload)
    registration.waiting.postMessage("take over")


def _reload(*event):
    window.location.reload()
