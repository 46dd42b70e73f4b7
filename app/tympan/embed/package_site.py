"""The copy of the site in an installed wheel, for pages that load the package from PyPI and not from a site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tympan
from tympan.weights.catalogue import CATALOGUE_NAME, Catalogue, CheckpointModel, HubModel, is_url
from tympan.weights.model import Folder

# Modules of the page thread; each comes after those that it imports.
_MODULES = ("protocol.js", "errors.js", "audio_source.js", "decoder.js", "page_bridge.js")
_WORKLET = "capture.worklet.js"


def package_site() -> Path | None:
    """The folder of the site, or None if the library came from a site, which serves its wheel without a site."""
    folder = Path(tympan.__file__).parent / "site"
    return folder if folder.is_dir() else None


def package_model(name: str) -> Folder | HubModel | CheckpointModel | None:
    """Find a model of the wheel's catalogue by its id, "" for the first one.

    Returns None if the package has no site, or `name` is an address. Raises UnknownModel.
    """
    site = package_site()
    if site is None or is_url(name):
        return None
    path = site / "models" / CATALOGUE_NAME
    found = Catalogue.parse(path.read_bytes(), "").find(name)
    return Folder(path.parent / found) if isinstance(found, str) else found


def page_bridge_url(site: Path, channel: str, to_url: Callable[[str], str]) -> str:
    """Return an address of bridge/page_bridge.js that a page can import although no server has the file.

    Files of a wheel have no address. Each module is turned into one with `to_url`, after the addresses of the modules
    that it imports were written into it.

    channel: the parameter of the module. to_url: source text of a module -> address, such as that of a Blob.
    """
    folder = site / "bridge"
    worklet = to_url((folder / _WORKLET).read_text("utf-8"))
    addresses = {
        f'new URL("{_WORKLET}", import.meta.url)': f'"{worklet}"',
        'new URL(import.meta.url).searchParams.get("channel")': f'"{channel}"',
    }
    url = ""
    for name in _MODULES:
        text = (folder / name).read_text("utf-8")
        for expression, address in addresses.items():
            text = text.replace(expression, address)
        url = to_url(text)
        addresses[f'"./{name}"'] = f'"{url}"'
    return url
