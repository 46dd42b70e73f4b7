"""Finds models by their names: in the installed wheel, or on the site that served this library."""

from __future__ import annotations

from tympan.embed.package_site import package_model
from tympan.embed.page_bridge import home_url
from tympan.weights.catalogue import CATALOGUE_NAME
from tympan.weights.download import Downloader
from tympan.weights.model import Folder, Source
from tympan.weights.sources import resolve, source_of
from tympan.weights.store_selection import open_store


async def find_model(name: str) -> Source:
    """Find a model by its id in the catalogue, "" for its first one, or by the address of its directory.

    The catalogue is that of the wheel if the package was installed from one with a site, else that of the site. A
    relative address is relative to the site. Raises UnknownModel or DownloadFailed.
    """
    found = package_model(name)
    if found is None:
        home = home_url()
        return await resolve(name, home, f"{home}models/{CATALOGUE_NAME}", Downloader(await open_store()))
    return found if isinstance(found, Folder) else source_of(found, Downloader(await open_store()))
