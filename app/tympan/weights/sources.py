"""Models on the web: in a directory at any address, or in a repository of the Hub; and what loading one would mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.weights.catalogue import Catalogue, HubModel, directory_url, is_url
from tympan.weights.download import Downloader
from tympan.weights.file import File
from tympan.weights.manifest import MANIFEST_NAME, Manifest, ModelFile
from tympan.weights.progress import Progress

ASK_ABOVE_BYTES = 50_000_000  # more is never downloaded unasked


@dataclass(frozen=True)
class Offer:
    """What a person should know of a model before it is downloaded."""

    title: str
    languages: tuple[str, ...]
    licence: str
    source: str  # whose work it is
    notes: str
    n_bytes: int
    missing_bytes: int  # of these, what would have to be downloaded
    host: str  # where from

    def must_ask(self, page_url: str) -> bool:
        """Whether to download only after a click: much of it, or anything from another site."""
        is_foreign = urlsplit(page_url).netloc != self.host
        return self.missing_bytes > (0 if is_foreign else ASK_ABOVE_BYTES)


class Directory:
    """A model directory at an address; a `Source`."""

    def __init__(self, url: str, downloader: Downloader) -> None:
        """url: absolute, of the directory, with or without the slash at its end."""
        self.url = url.rstrip("/") + "/"
        self._downloader = downloader

    @property
    def host(self) -> str:
        """Which site its files come from."""
        return urlsplit(self.url).netloc

    async def manifest(self) -> Manifest:
        """Download `model.json`, as `Source` says."""
        return Manifest.parse(await self._downloader.text(self.url + MANIFEST_NAME, missing=UnknownModel(self.url)))

    async def offer(self) -> Offer:
        """What loading it would mean. Raises what `manifest` raises."""
        manifest = await self.manifest()
        missing = [file.n_bytes for file in manifest.files if not await self._downloader.has(self._url(file), file)]
        return _offer(manifest, sum(missing), self.host)

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Download one file, as `Source` says."""
        return await self._downloader.file(self._url(file), file, progress)

    def release(self) -> None:
        """Let go of the files, as `Source` says."""
        self._downloader.store.release()

    def _url(self, file: ModelFile) -> str:
        return self.url + file.path


class Hub:
    """A model of the Hub; a `Source`. The repository's listing is kept, so that a stored model needs no network."""

    def __init__(self, model: HubModel, downloader: Downloader) -> None:
        self._model, self._downloader = model, downloader
        self._note = hashlib.sha256(model.repository.listing_url.encode()).hexdigest()

    @property
    def host(self) -> str:
        """Which site its files come from."""
        return urlsplit(self._model.repository.host).netloc

    async def manifest(self) -> Manifest:
        """Take the listing from the store, or else from the network, as `Source` says."""
        known = await self._known_manifest()
        if known is not None:
            return known
        listing = await self._downloader.text(self._model.repository.listing_url)
        manifest = self._model.manifest(listing)
        await self._downloader.set_note(self._note, listing)
        return manifest

    async def offer(self) -> Offer:
        """What loading it would mean; nothing is asked of the network."""
        known = await self._known_manifest()
        if known is None:
            about = self._model.about
            return Offer(
                title=about["title"],
                languages=tuple(about["languages"]),
                licence=about["licence"],
                source=about["attribution"],
                notes=about["notes"],
                n_bytes=about["bytes"],
                missing_bytes=about["bytes"],
                host=self.host,
            )
        missing = [file.n_bytes for file in known.files if not await self._downloader.has(self._url(file), file)]
        return _offer(known, sum(missing), self.host)

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Download one file, as `Source` says."""
        try:
            return await self._downloader.file(self._url(file), file, progress)
        except CorruptFile:
            await self._downloader.set_note(self._note, b"")  # the repository may have changed since
            raise

    def release(self) -> None:
        """Let go of the files, as `Source` says."""
        self._downloader.store.release()

    async def _known_manifest(self) -> Manifest | None:
        """What an earlier visit learnt."""
        listing = await self._downloader.store.note(self._note)
        try:
            return self._model.manifest(listing) if listing else None
        except BadModel:
            return None

    def _url(self, file: ModelFile) -> str:
        return self._model.repository.file_url(file.path)


def _offer(manifest: Manifest, missing_bytes: int, host: str) -> Offer:
    return Offer(
        title=manifest.title,
        languages=manifest.languages,
        licence=manifest.licence,
        source=manifest.source,
        notes=manifest.notes,
        n_bytes=manifest.n_bytes,
        missing_bytes=missing_bytes,
        host=host,
    )


async def resolve(model: str, page_url: str, catalogue_url: str, downloader: Downloader) -> Directory | Hub:
    """Find the model that `?model=` names.

    model: an id of the catalogue, empty for its first model, or the address of a model directory.
    page_url: what a relative address is relative to. Raises UnknownModel, or what downloading the catalogue raises.
    """
    if is_url(model):
        return Directory(directory_url(model, page_url), downloader)
    catalogue = Catalogue.parse(await downloader.text(catalogue_url), catalogue_url)
    found = catalogue.find(model)
    return Hub(found, downloader) if isinstance(found, HubModel) else Directory(found, downloader)
