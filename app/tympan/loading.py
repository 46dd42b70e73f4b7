"""Loads a model: downloads and verifies its files, selects a backend, and returns a ready `Transcriber`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tympan.config import LMConfig
from tympan.errors import BadOption, GpuError
from tympan.gpu.device import Adapter, AdapterInfo
from tympan.lm.backend import ReplayableBackend
from tympan.lm.backend_selection import choose, is_gpu_too_slow
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.weights import LMWeights
from tympan.mimi.selection import CHOICES, limits_on_gpu, open_mimi
from tympan.reasons import Reason
from tympan.text.tokenizer import Tokenizer
from tympan.transcriber import Transcriber
from tympan.weights.manifest import Manifest
from tympan.weights.model import ModelFiles, Source, read_model
from tympan.weights.progress import Progress, ignore_progress

Wants: TypeAlias = Callable[[AdapterInfo], Mapping[str, int]]

BACKENDS = ("auto", "webgpu", "simd", "numpy")


@dataclass(frozen=True)
class Loaded:
    """A loaded model."""

    transcriber: Transcriber
    manifest: Manifest
    why: Reason | GpuError  # the reason for the backend, or the error of a preferred one
    mimi_why: Reason | GpuError  # likewise for Mimi


async def load(
    source: Source,
    backend: str = "auto",
    mimi: str = "auto",
    on_progress: Callable[[Progress], None] = ignore_progress,
) -> Loaded:
    """Load a model from `source`.

    backend: one of BACKENDS, for the transformer; mimi: one of CHOICES; `auto` selects the fastest. on_progress: called
    while files are downloaded and tensors are read from them.
    Raises ModelError, GpuError or BadOption.
    """
    if backend not in BACKENDS:
        raise BadOption("backend", backend, BACKENDS)
    if mimi not in CHOICES:
        raise BadOption("mimi", mimi, CHOICES)
    try:
        return await assemble(await read_model(source, on_progress), backend, mimi)
    finally:
        source.release()


async def assemble(files: ModelFiles, backend: str, mimi: str = "auto") -> Loaded:
    """Create the stages of a model from its files. Raises BadModel or GpuError."""
    mimi_config, lm_config = files.manifest.mimi_config, files.manifest.lm_config
    tokenizer = Tokenizer.from_bytes(files.tokenizer)
    wants = None if mimi == "cpu" else partial(limits_on_gpu, mimi_config, files.mimi)
    lm, why = await _open_recovering(backend, lm_config, LMWeights.from_tensors(lm_config, files.lm), wants)
    encoder, mimi_why = await open_mimi(mimi, mimi_config, files.mimi, lm.open_code_reader)
    transcriber = Transcriber(encoder, lm, tokenizer, files.manifest.calibration)
    return Loaded(transcriber, files.manifest, why, mimi_why)


async def _open_recovering(
    backend: str, config: LMConfig, weights: LMWeights, wants: Wants | None
) -> tuple[RecoveringBackend, Reason | GpuError]:
    """Open a backend that is reopened, or replaced by the next kind, when it is lost; and why it was selected.

    wants: see `open_backend`.
    """
    choice = choose(backend, await Adapter.request_info() if backend == "auto" else None)
    failures: list[GpuError] = []

    async def attempt(kind: str) -> ReplayableBackend:
        try:
            return await open_backend(kind, config, weights, wants)
        except GpuError as error:
            failures.append(error)
            raise

    kinds = [partial(attempt, kind) for kind in choice.kinds]
    lm = await RecoveringBackend.open(kinds)
    if failures:
        return lm, failures[0]
    if lm.name == "webgpu" and len(kinds) > 1 and (too_slow := await is_gpu_too_slow(lm, weights)):
        lm.close()
        return await RecoveringBackend.open(kinds[1:]), too_slow
    return lm, choice.why


async def open_backend(
    kind: str, config: LMConfig, weights: LMWeights, wants: Wants | None = None
) -> ReplayableBackend:
    """Load the transformer on one backend.

    kind: one of BACKENDS, but not `auto`. wants: returns the limits, by name, that Mimi needs where it shares the GPU.
    Raises GpuError.
    """
    # Imported here, because a page needs only one or two of the backends.
    if kind == "numpy":
        from tympan.lm.reference import Reference

        return Reference(config, weights)
    if kind == "simd":
        from tympan.lm.simd.backend import SimdBackend

        return await SimdBackend.create(config, weights)
    from tympan.lm.webgpu.backend import WebGPUBackend

    return await WebGPUBackend.create(config, weights, wants=wants)
