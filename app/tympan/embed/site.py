"""Finds models by their names: on the site that served this library, or in the installed wheel."""

from __future__ import annotations

from tympan.embed.package_site import package_site
from tympan.embed.page_bridge import home_url
from tympan.weights.catalogue import CATALOGUE_NAME, Catalogue, HubModel, is_url
from tympan.weights.download import Downloader
from tympan.weights.model import Folder, Source
from tympan.weights.sources import Hub, resolve
from tympan.weights.store import open_store


async def find_model(name: str) -> Source:
    """Find a model by its id in the catalogue, "" for its first one, or by the address of its directory.

    The catalogue is that of the wheel if the package was installed from one with a site, else that of the site. A
    relative address is relative to the site. Raises UnknownModel or DownloadFailed.
    """
    site = package_site()
    if site is None or is_url(name):
        home = home_url()
        return await resolve(name, home, f"{home}models/{CATALOGUE_NAME}", Downloader(await open_store()))
    path = site / "models" / CATALOGUE_NAME
    found = Catalogue.parse(path.read_bytes(), "").find(name)
    return Hub(found, Downloader(await open_store())) if isinstance(found, HubModel) else Folder(path.parent / found)
