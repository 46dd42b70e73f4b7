"""Offline use: a service worker caches the whole site and installs its new versions."""

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.elements import button, element
from tympan.browser.language import language
from tympan.browser.promises import JsError, settled

TAKEOVER_MS = 2500  # after which the page reloads even if the new version has not been activated


async def ask_for_newest():
    """Reload as the new version if one is waiting and no other page shows the old one. Called when the page opens."""
    workers = getattr(window.navigator, "serviceWorker", None)
    if not workers:  # a page over plain http, or a browser without service workers
        return
    # Another page may activate the new version while this one is loading: the browser does not count it then.
    workers.addEventListener("controllerchange", _reload)
    try:
        registration = await settled(workers.getRegistration())
    except JsError:  # storage is forbidden
        return
    if getattr(registration, "waiting", None):
        registration.waiting.postMessage("activate")


async def keep_site():
    """Cache the site for offline visits; report when a new version is installed."""
    workers = getattr(window.navigator, "serviceWorker", None)
    if not workers:
        return
    try:
        registration = await settled(workers.register("service-worker.js", to_js({"updateViaCache": "none"})))
    except JsError:
        return
    if not hasattr(registration, "waiting"):  # some browsers under test refuse without an error
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
    """Offer the new version. It is activated at the next visit in any case."""
    notice = element("new-version")
    notice.textContent = language.text("new_version") + " "
    notice.append(button(language.text("reload"), lambda: _press_reload(registration)))
    notice.hidden = False


def _press_reload(registration):
    """Reload, as the new version unless another page shows the old one."""
    if registration.waiting:
        registration.waiting.postMessage("activate")
        window.setTimeout(_reload, TAKEOVER_MS)
    else:  # it has been activated meanwhile
        _reload()


def _reload(*event):
    window.location.reload()
