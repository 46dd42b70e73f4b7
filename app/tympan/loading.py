"""From the name of a model to a `Transcriber` that is ready: download, check, put on a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tympan.config import LMConfig
from tympan.errors import BadOption
from tympan.lm.backend import Backend
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.text.tokenizer import Tokenizer
from tympan.transcriber import Transcriber
from tympan.weights.manifest import Manifest
from tympan.weights.model import ModelFiles, Source, quiet, read_model
from tympan.weights.progress import Progress

BACKENDS = ("auto", "webgpu", "numpy")
AUTOMATIC = ("webgpu",)  # what `auto` tries in turn, also when one is lost on the way


@dataclass(frozen=True)
class Loaded:
    transcriber: Transcriber
    manifest: Manifest


async def load(source: Source, backend: str = "auto", on_progress: Callable[[Progress], None] = quiet) -> Loaded:
    """Read a model from `source` and make it ready.

    backend: one of BACKENDS; `auto` is the first of AUTOMATIC that works. on_progress: called as files come and as
    tensors are read from them.
    Raises ModelError, GpuError or BadOption.
    """
    if backend not in BACKENDS:
        raise BadOption("backend", backend, BACKENDS)
    files = await read_model(source, on_progress)
    return Loaded(await assemble(files, backend), files.manifest)


async def assemble(files: ModelFiles, backend: str) -> Transcriber:
    """Build the parts of a model that has been read. Raises BadModel or GpuError."""
    mimi_config, lm_config = files.manifest.mimi_config, files.manifest.lm_config
    tokenizer = Tokenizer.from_bytes(files.tokenizer)
    mimi = Mimi(mimi_config, MimiWeights.from_tensors(mimi_config, files.mimi))
    lm = await _open_recovering(backend, lm_config, LMWeights.from_tensors(lm_config, files.lm))
    return Transcriber(mimi, lm, tokenizer)


async def _open_recovering(backend: str, config: LMConfig, weights: LMWeights) -> Backend:
    """The backend of that name, which opens itself again when it is lost."""
    kinds = AUTOMATIC if backend == "auto" else (backend,)
    return await RecoveringBackend.open([partial(open_backend, kind, config, weights) for kind in kinds])


async def open_backend(kind: str, config: LMConfig, weights: LMWeights) -> Backend:
    """The transformer on one kind of backend. Raises GpuError where there is none for it."""
    # Imported here: few of them are needed, and the WebGPU one exists in a browser alone.
    if kind == "numpy":
        from tympan.lm.reference import Reference

        return Reference(config, weights)
    from tympan.lm.webgpu import WebGPUBackend

    return await WebGPUBackend.create(config, weights)
