"""Official checkpoints on the Hub, quantized in the page and kept in its storage as a model directory.

Each tensor is downloaded by a Range request, quantized and appended to a file in the browser's storage, so at most one
tensor and its result are in memory, and an interrupted conversion continues after the last complete tensor. The code
of the conversion is that of `tympan quantize`, and so are the bytes of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from pyodide.ffi import JsException

from tympan.checkpoint.conversion import TOKENIZER_NAME, Conversion, Formats, Shard, convert, plan_lm, plan_mimi
from tympan.checkpoint.official import CONFIG_NAME, MIMI_CONFIG, FileNames
from tympan.checkpoint.remote import RemoteTensors
from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel, CorruptFile, StorageFull
from tympan.weights.blocks import BlockFormat
from tympan.weights.catalogue import CheckpointModel
from tympan.weights.download import Downloader
from tympan.weights.file import File
from tympan.weights.hub import describe_files
from tympan.weights.manifest import Manifest, ModelFile, Role
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.progress import Progress, ignore_progress
from tympan.weights.safetensors import Tensor
from tympan.weights.sources import Offer, WebSource
from tympan.weights.store import Part, pieces_of

_VERSION = 1  # of the conversion; a new one makes stored models obsolete


class CheckpointSource(WebSource):
    """A checkpoint of the Hub; a `Source` of the model that it is converted to."""

    def __init__(self, model: CheckpointModel, tables: BlockFormat, downloader: Downloader) -> None:
        """tables: format of the transformer's embedding tables."""
        super().__init__(model.repository.host, downloader)
        self._model, self._formats = model, Formats(tables=tables)
        self._key = _hash(f"{_VERSION} {model.repository.listing_url} {self._formats}")

    async def manifest(self, on_progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
        """Convert what is not stored yet, and return the manifest of the converted model. See `Source.manifest`."""
        self._check_memory(self._kept_bytes)
        async with self._downloader.store.locked(self._key):
            stored = await self._stored_manifest()
            return stored if stored is not None else await self._convert(on_progress)

    async def offer(self) -> Offer:
        """Describe the model, its download and what is kept, without any request to the Hub."""
        self._check_memory(self._kept_bytes)
        stored = await self._stored_manifest()
        if stored is not None:
            return Offer(stored, stored.n_bytes, missing_bytes=0, host=self.host)
        return Offer(self._model.info, self._kept_bytes, self._model.n_download_bytes, self.host, converts=True)

    async def open(self, file: ModelFile, progress: Progress) -> File:
        """Open one of the stored files. See `Source.open`."""
        stored = await self._downloader.store.find(self._key_of(file.path), file)
        if stored is None:
            raise CorruptFile(file.path, "the browser did not keep it")
        progress.skip(file.n_bytes)
        return await self._downloader.store.open_exclusive(self._key_of(file.path), stored)

    def file_url(self, file: ModelFile) -> str:
        raise AssertionError("a converted file has no URL")

    @property
    def _kept_bytes(self) -> int:
        return self._model.n_kept_bytes[self._formats.tables]

    def _key_of(self, path: str) -> str:
        return _hash(f"{self._key} {path}")

    async def _stored_manifest(self) -> Manifest | None:
        """The manifest of the converted model, if all of its files are stored."""
        text = await self._downloader.store.read_text(self._key)
        try:
            manifest = Manifest.parse(text or b"")
        except BadModel:
            return None
        for file in manifest.files:
            if await self._downloader.store.find(self._key_of(file.path), file) is None:
                return None
        return manifest

    async def _convert(self, on_progress: Callable[[Progress], None]) -> Manifest:
        repository, downloader = self._model.repository, self._downloader
        config = _json(await downloader.text(repository.file_url(CONFIG_NAME)))
        names = FileNames.of(config)
        mimi_config = (
            _json(await downloader.text(repository.file_url(names.mimi_config))) if names.mimi_config else MIMI_CONFIG
        )
        listing = await downloader.text(repository.listing_url)
        lm_file, mimi_file, tokenizer_file = describe_files(
            listing, [(names.lm, "lm"), (names.mimi, "mimi"), (names.tokenizer, "tokenizer")]
        )
        lm_config = LMConfig.from_json(config)
        lm, mimi = [
            await RemoteTensors.open(repository.file_url(file.path), file.path, file.n_bytes, downloader)
            for file in (lm_file, mimi_file)
        ]
        encoder = EncoderTensors(mimi.tensors, MimiConfig.from_json(mimi_config, lm_config.n_codebooks))
        work: list[tuple[Shard, RemoteTensors, Mapping[str, Tensor]]] = [
            *((shard, lm, lm.tensors) for shard in plan_lm(lm_config, lm.tensors, self._formats)),
            *((shard, mimi, encoder) for shard in plan_mimi(encoder, mimi.tensors, self._formats)),
        ]
        total_bytes = tokenizer_file.n_bytes + sum(
            remote.n_bytes_of(conversion.sources) for shard, remote, _ in work for conversion in shard.conversions
        )
        progress = Progress("convert", total_bytes, on_progress)
        files = [await self._shard(shard, remote, tensors, progress) for shard, remote, tensors in work]
        files.append(await self._tokenizer(repository.file_url(tokenizer_file.path), progress))
        manifest = Manifest(
            **vars(replace(self._model.info, source=self._model.info.source or repository.name)),
            name=self._model.id,
            config_json=config,
            mimi_config_json=mimi_config,
            files=tuple(files),
        )
        await downloader.store_text(self._key, manifest.serialize().encode())
        return manifest

    async def _shard(
        self, shard: Shard, remote: RemoteTensors, tensors: Mapping[str, Tensor], progress: Progress
    ) -> ModelFile:
        """Write one file of the model, or the rest of it, and return its entry of the manifest."""
        key, store = self._key_of(shard.path), self._downloader.store
        sha256 = await store.read_text(f"{key}.sha256")
        unverified = ModelFile(shard.path, shard.role, shard.n_bytes, str(sha256 or b"", "ascii"))
        if sha256 and await store.find(key, unverified) is not None:
            progress.skip(sum(remote.n_bytes_of(conversion.sources) for conversion in shard.conversions))
            return unverified
        part = await store.part(key)
        try:
            digest = await self._append(shard, part, remote, tensors, progress)
        except JsException as error:
            raise await self._storage_error(shard.n_bytes - part.n_bytes) from error
        finally:
            part.close()
        try:
            await store.commit(key)
        except JsException as error:
            raise await self._storage_error(shard.n_bytes) from error
        return await self._keep_hash(key, replace(unverified, sha256=digest))

    async def _append(
        self, shard: Shard, part: Part, remote: RemoteTensors, tensors: Mapping[str, Tensor], progress: Progress
    ) -> str:
        """Append the tensors that an earlier visit has not written. Returns the sha256 of the whole file."""
        ends = list(accumulate((conversion.n_bytes for conversion in shard.conversions), initial=len(shard.header)))
        n_kept = max((end for end in ends if end <= part.n_bytes), default=0)
        part.truncate(n_kept)
        digest = hashlib.sha256()
        async for piece in pieces_of(part, n_kept):
            digest.update(piece)
        if not n_kept:
            self._write(part, digest, np.frombuffer(shard.header, np.uint8))
        if (free_bytes := await self._downloader.store.free_bytes()) < shard.n_bytes - part.n_bytes:
            raise StorageFull(shard.n_bytes - part.n_bytes, free_bytes)
        for conversion, end in zip(shard.conversions, ends[1:], strict=True):
            if end <= n_kept:
                progress.skip(remote.n_bytes_of(conversion.sources))
                continue
            await remote.load(conversion.sources, progress.add)
            self._convert_one(conversion, tensors, part, digest)
            assert part.n_bytes == end, (conversion, part.n_bytes, end)
        return digest.hexdigest()

    def _convert_one(self, conversion: Conversion, tensors: Mapping[str, Tensor], part: Part, digest: Any) -> None:
        for array in convert(conversion, tensors):
            self._write(part, digest, np.ascontiguousarray(array))

    @staticmethod
    def _write(part: Part, digest: Any, array: Tensor) -> None:
        part.append_array(array)
        digest.update(array.reshape(-1).view(np.uint8))

    async def _tokenizer(self, url: str, progress: Progress) -> ModelFile:
        content = await self._downloader.text(url)
        key = self._key_of(TOKENIZER_NAME)
        try:
            await self._downloader.store.write(key, np.frombuffer(content, np.uint8))
        except JsException as error:
            raise await self._storage_error(len(content)) from error
        role: Role = "tokenizer"
        file = ModelFile(TOKENIZER_NAME, role, len(content), hashlib.sha256(content).hexdigest())
        progress.add(len(content))
        return await self._keep_hash(key, file)

    async def _keep_hash(self, key: str, file: ModelFile) -> ModelFile:
        """Keep the hash of a stored file for the manifest. Returns the file."""
        if await self._downloader.store.find(key, file) is None:
            raise CorruptFile(file.path, "the browser did not keep it")
        await self._downloader.store_text(f"{key}.sha256", file.sha256.encode())
        return file

    async def _storage_error(self, needed_bytes: int) -> StorageFull:
        return StorageFull(needed_bytes, await self._downloader.store.free_bytes())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise BadModel(f"its {CONFIG_NAME} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadModel(f"its {CONFIG_NAME} is not a JSON object")
    return value
