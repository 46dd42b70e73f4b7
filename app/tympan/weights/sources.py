"""Models on the web, in a directory or in a repository of the Hub, and the information shown before a download."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tympan.checkpoint.heads import PATH as HEADS_PATH
from tympan.checkpoint.heads import PauseHeads
from tympan.errors import BadModel, BadOption, CorruptFile, UnknownModel
from tympan.weights.blocks import BlockFormat
from tympan.weights.catalogue import Catalogue, CheckpointModel, HubModel, directory_url, is_url
from tympan.weights.download import Downloader
from tympan.weights.file import File
from tympan.weights.info import ModelInfo
from tympan.weights.manifest import MANIFEST_NAME, Manifest, ModelFile
from tympan.weights.matrix import BLOCKS
from tympan.weights.memory import check_memory
from tympan.weights.progress import Progress, ignore_progress

ASK_ABOVE_BYTES = 50_000_000  # larger downloads need consent


@dataclass(frozen=True)
class Offer:
    """The information about a model that the page shows before downloading it."""

    info: ModelInfo
    n_bytes: int
    missing_bytes: int  # not stored yet, so to be downloaded
    host: str  # where the files come from
    converts: bool = False  # whether the download is an official checkpoint, which the page quantizes

    def must_ask(self, page_url: str) -> bool:
        """Whether the download needs a click: more than 50 MB, or anything from another site."""
        is_foreign = urlsplit(page_url).netloc != self.host
        return self.missing_bytes > (0 if is_foreign else ASK_ABOVE_BYTES)

    def to_json(self) -> dict[str, Any]:
        """The offer as the page receives it, without `must_ask`, which depends on the page's URL."""
        sizes = {"bytes": self.n_bytes, "missing": self.missing_bytes, "host": self.host, "converts": self.converts}
        return self.info.to_json() | sizes


class WebSource(ABC):
    """A model on the web; a `Source`."""

    def __init__(self, url: str, downloader: Downloader) -> None:
        """url: any URL on the host of the files."""
        self.lacks_heads = False  # whether the model has pause heads that could not be downloaded
        self.host, self._downloader = urlsplit(url).netloc, downloader

    @abstractmethod
    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """See `Source.manifest`."""

    @abstractmethod
    async def offer(self) -> Offer:
        """Describe the model and its download."""

    @abstractmethod
    def file_url(self, file: ModelFile) -> str:
        """The absolute URL of one file."""

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Download one file. See `Source.open`."""
        return await self._downloader.file(self.file_url(file), file, progress)

    def release(self) -> None:
        """Close the open files. See `Source.release`."""
        self._downloader.store.release()

    def _check_memory(self, n_bytes: int) -> None:
        """Raise NotEnoughMemory if a model of this size does not fit into this device."""
        check_memory(n_bytes, self._downloader.store.device_memory_bytes())

    async def _offer_of(self, manifest: Manifest) -> Offer:
        """The offer of a model whose manifest is known."""
        missing = [file.n_bytes for file in manifest.files if not await self._downloader.has(self.file_url(file), file)]
        return Offer(manifest, manifest.n_bytes, missing_bytes=sum(missing), host=self.host)


class Directory(WebSource):
    """A model directory at a URL."""

    def __init__(self, url: str, downloader: Downloader) -> None:
        """url: absolute URL of the directory, with or without a trailing slash."""
        super().__init__(url, downloader)
        self.url = url.rstrip("/") + "/"

    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """Download `model.json`. See `Source.manifest`."""
        text = await self._downloader.text(self.url + MANIFEST_NAME, missing=UnknownModel(self.url))
        manifest = Manifest.parse(text)
        self._check_memory(manifest.n_bytes)
        return manifest

    async def offer(self) -> Offer:
        """Describe the model and its download. Raises the errors of `manifest`."""
        return await self._offer_of(await self.manifest())

    def file_url(self, file: ModelFile) -> str:
        return self.url + file.path


class Hub(WebSource):
    """A model of the Hub. The repository's listing is stored, so that a stored model loads offline."""

    def __init__(self, model: HubModel, downloader: Downloader) -> None:
        super().__init__(model.repository.host, downloader)
        self._model = model
        self._listing_key = hashlib.sha256(model.repository.listing_url.encode()).hexdigest()
        d = int(model.config_json.get("dim", 0))
        self._heads = PauseHeads(model.pause_heads, d, downloader) if model.pause_heads else None

    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """Build the manifest from the stored listing, or else download the listing. See `Source.manifest`."""
        self._check_memory(self._model.n_bytes)
        manifest = await self._stored_manifest()
        if manifest is None:
            listing = await self._downloader.text(self._model.repository.listing_url)
            manifest = self._model.manifest(listing)
            await self._downloader.store_text(self._listing_key, listing)
        return await self._with_heads(manifest, self._heads) if self._heads else manifest

    async def _with_heads(self, manifest: Manifest, heads: PauseHeads) -> Manifest:
        """The manifest with the pause heads, if they are stored or can be downloaded.

        They are downloaded with the model's other files only, which the user has agreed to.
        """
        found = await heads.added_to(manifest)
        if found is None and (await self._offer_of(manifest)).missing_bytes and await heads.fetch():
            found = await heads.added_to(manifest)
        self.lacks_heads = found is None
        return found or manifest

    async def offer(self) -> Offer:
        """Describe the model and its download without any request to the Hub."""
        self._check_memory(self._model.n_bytes)
        stored = await self._stored_manifest()
        if stored is None:
            n_bytes = self._model.n_bytes
            return Offer(self._model.info, n_bytes, missing_bytes=n_bytes, host=self.host)
        return await self._offer_of(stored)

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Download one file. See `Source.open`."""
        if self._heads and file.path == HEADS_PATH:
            stored = await self._heads.open(file)
            if stored is None:
                raise CorruptFile(file.path, "the browser did not keep it")
            progress.skip(file.n_bytes)
            return stored
        try:
            return await super().open(file, progress)
        except CorruptFile:
            await self._downloader.store_text(self._listing_key, b"")  # the repository may have changed since
            raise

    async def _stored_manifest(self) -> Manifest | None:
        """The manifest according to the listing of an earlier visit."""
        listing = await self._downloader.store.read_text(self._listing_key)
        try:
            return self._model.manifest(listing) if listing else None
        except BadModel:
            return None

    def file_url(self, file: ModelFile) -> str:
        return self._model.repository.file_url(file.path)


async def resolve(
    model: str, page_url: str, catalogue_url: str, downloader: Downloader, embeddings: str = "q4"
) -> WebSource:
    """Find the model that `?model=` names.

    model: an id of the catalogue, empty for its first model, or the URL of a model directory.
    page_url: base of relative URLs. embeddings: format of the embedding tables of checkpoints, a key of `BLOCKS`.
    Raises UnknownModel, BadOption, or the errors of downloading the catalogue.
    """
    if embeddings not in BLOCKS:
        raise BadOption("embeddings", embeddings, tuple(BLOCKS))
    if is_url(model):
        return Directory(directory_url(model, page_url), downloader)
    catalogue = Catalogue.parse(await downloader.text(catalogue_url), catalogue_url)
    found = catalogue.find(model)
    return Directory(found, downloader) if isinstance(found, str) else source_of(found, downloader, embeddings)


def source_of(model: HubModel | CheckpointModel, downloader: Downloader, embeddings: BlockFormat = "q4") -> WebSource:
    """The source of a model of the Hub. embeddings: as for `resolve`."""
    if isinstance(model, HubModel):
        return Hub(model, downloader)
    from tympan.checkpoint.source import CheckpointSource  # which imports this module

    return CheckpointSource(model, embeddings, downloader)
