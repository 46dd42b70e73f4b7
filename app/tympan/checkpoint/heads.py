"""Pause heads for a model that was published without them: a few small tensors of the official checkpoint.

They are downloaded by Range requests, about 100 KB of a file of gigabytes, and stored as a file of their own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from math import prod

import numpy as np
from pyodide.ffi import JsException

from tympan.checkpoint.remote import RemoteTensors, ignore_bytes
from tympan.errors import BadModel, DownloadFailed
from tympan.weights.catalogue import HeadsFile
from tympan.weights.download import Downloader
from tympan.weights.file import File, TensorInfo
from tympan.weights.manifest import Manifest, ModelFile
from tympan.weights.safetensors import header_of

PATH = "extra_heads.safetensors"  # of the stored file, which no repository has
_PREFIX = "extra_heads."


@dataclass(frozen=True)
class _Described:
    """What the stored file holds."""

    n_bytes: int
    sha256: str
    n_heads: int
    width: int


class PauseHeads:
    """The pause heads of one model in the browser's storage."""

    def __init__(self, source: HeadsFile, d: int, downloader: Downloader) -> None:
        """d: width of the model."""
        self._source, self._d, self._downloader = source, d, downloader
        self._key = hashlib.sha256(f"{PATH} {source.url}".encode()).hexdigest()

    async def added_to(self, manifest: Manifest) -> Manifest | None:
        """The manifest with the stored heads; None if they are not stored."""
        text = await self._downloader.store.read_text(f"{self._key}.json")
        try:
            described = _Described(**json.loads(text or b""))
        except (ValueError, TypeError):
            return None
        file = ModelFile(PATH, "lm", described.n_bytes, described.sha256)
        if await self._downloader.store.find(self._key, file) is None:
            return None
        heads = {"extra_heads_num_heads": described.n_heads, "extra_heads_dim": described.width}
        return replace(manifest, files=(*manifest.files, file), config_json={**manifest.config_json, **heads})

    async def fetch(self) -> bool:
        """Download and store the heads. Returns whether this succeeded: a model works without them, too.

        Raises Cancelled.
        """
        try:
            content, described = await self._download()
            await self._store(content)
        except (DownloadFailed, BadModel, JsException):
            return False
        await self._downloader.store_text(f"{self._key}.json", json.dumps(asdict(described)).encode())
        return True

    async def open(self, file: ModelFile) -> File | None:
        """Open the stored file; None if the browser did not keep it."""
        return await self._downloader.store.find(self._key, file)

    async def _download(self) -> tuple[bytes, _Described]:
        """Raises DownloadFailed, also if the host does not send parts of files; BadModel if there are no heads."""
        remote = await RemoteTensors.open(self._source.url, self._source.path, self._source.n_bytes, self._downloader)
        names = sorted(name for name in remote.tensors if name.startswith(_PREFIX))
        shapes = {remote.tensors.shape(name) for name in names}
        if len(shapes) != 1 or not all(len(shape) == 2 and shape[1] == self._d for shape in shapes):
            raise BadModel(f"{self._source.path} has no pause heads of width {self._d}")
        [shape] = shapes
        content = header_of(TensorInfo(name, "F32", shape, 4 * prod(shape)) for name in names)
        for name in names:
            await remote.load([name], ignore_bytes)
            content += np.ascontiguousarray(remote.tensors[name], "<f4").tobytes()
        return content, _Described(len(content), hashlib.sha256(content).hexdigest(), len(names), shape[0])

    async def _store(self, content: bytes) -> None:
        store = self._downloader.store
        async with store.locked(self._key):
            await store.write(self._key, np.frombuffer(content, np.uint8))
