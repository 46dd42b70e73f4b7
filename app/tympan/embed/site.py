"""Finds models by their names on the site that served this library."""

from __future__ import annotations

from tympan.embed.page_bridge import home_url
from tympan.weights.catalogue import CATALOGUE_NAME
from tympan.weights.download import Downloader
from tympan.weights.model import Source
from tympan.weights.sources import resolve
from tympan.weights.store import open_store


async def find_model(name: str) -> Source:
    """Find a model by its id in the site's catalogue, "" for its first one, or by the address of its directory.

    A relative address is relative to the site. Raises UnknownModel or DownloadFailed.
    """
    home = home_url()
    return await resolve(name, home, f"{home}models/{CATALOGUE_NAME}", Downloader(await open_store()))
