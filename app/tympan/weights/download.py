"""Fetches a model directory over HTTP, in the page. The only module of the weights that knows the browser."""

from __future__ import annotations

from collections.abc import Callable

from js import fetch
from pyodide.ffi import JsException

from tympan.errors import DownloadFailed, UnknownModel
from tympan.weights.catalogue import Catalogue, directory_url, is_url
from tympan.weights.manifest import MANIFEST_NAME


class Http:
    """A model directory at an address; a `Source`."""

    def __init__(self, url: str) -> None:
        """url: absolute, of the directory, with or without the slash at its end."""
        self.url = url.rstrip("/") + "/"

    async def read(self, path: str, on_bytes: Callable[[int], None]) -> bytes:
        """Download one file, as `Source` says. Raises DownloadFailed, or UnknownModel when there is no manifest."""
        url = self.url + path
        return await _download(url, on_bytes, missing=UnknownModel(self.url) if path == MANIFEST_NAME else None)


async def resolve(model: str, page_url: str, catalogue_url: str) -> Http:
    """Find the model that `?model=` names.

    model: an id of the catalogue, empty for its first model, or the address of a model directory.
    page_url: what a relative address is relative to. Raises UnknownModel, or what downloading the catalogue raises.
    """
    if is_url(model):
        return Http(directory_url(model, page_url))
    catalogue = Catalogue.parse(await _download(catalogue_url, lambda n_bytes: None), catalogue_url)
    return Http(catalogue.model_url(model))


async def _download(url: str, on_bytes: Callable[[int], None], missing: UnknownModel | None = None) -> bytes:
    """Download piece by piece, so that `on_bytes` tells of real progress. missing: raised instead where nothing is."""
    try:
        response = await fetch(url)
        if not response.ok:
            if missing is not None and response.status in (404, 410):
                raise missing
            raise DownloadFailed(url, f"the server answered {response.status}")
        pieces = []
        reader = response.body.getReader()
        while not (piece := await reader.read()).done:
            pieces.append(piece.value.to_bytes())
            on_bytes(len(pieces[-1]))
    except JsException as error:  # no network, a refused origin, or a connection that broke half-way
        raise DownloadFailed(url, str(error.message)) from error
    return b"".join(pieces)
