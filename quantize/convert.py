"""Converts an official checkpoint to a model directory that the page can load.

    config.json, model.safetensors      ->  model.json
    (F32, F16 or BF16, one or shards)       lm-00001.safetensors ...     matrices in Q4 or Q8, the rest in float32
    Mimi's safetensors                      mimi-00001.safetensors ...   the encoder only
    the SentencePiece model                 tokenizer.model

Keys that `config.json` omits have the defaults of the official loader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.errors import BadModel, BadOption
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import MimiWeights
from tympan.quantize import scales
from tympan.quantize.checkpoint import Checkpoint
from tympan.quantize.shards import describe, write_shards
from tympan.weights import q8
from tympan.weights.blocks import BlockMatrix
from tympan.weights.info import ModelInfo
from tympan.weights.manifest import MANIFEST_NAME, Manifest
from tympan.weights.matrix import MatrixFormat
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.safetensors import Tensor

Format: TypeAlias = Literal["q4_0", "f32"]
MimiFormat: TypeAlias = Literal["as-is", "f16"]
NamedTensors: TypeAlias = Iterable[tuple[str, Tensor]]

_MATRIX_FORMATS: dict[Format, MatrixFormat] = {"q4_0": "q4", "f32": "f32"}
_QUANTIZERS: dict[MatrixFormat, Callable[[Float32], BlockMatrix]] = {"q4": scales.quantize, "q8": q8.quantize}
_TOKENIZER_NAME = "tokenizer.model"
_EMBEDDINGS = ("emb.", "text_emb.")
_LM_PREFIXES = (*_EMBEDDINGS, "transformer.layers.", "out_norm.", "text_linear.", "extra_heads.")


def quantize(
    source: Path,
    dest: Path,
    format: Format = "q4_0",
    info: ModelInfo | None = None,
    mimi_format: MimiFormat = "as-is",
    embeddings: MatrixFormat | None = None,
) -> None:
    """Convert a checkpoint tensor by tensor: at most one tensor and one shard are in memory.

    source: an official checkpoint directory. dest: a new or empty folder, or a model directory to replace; it does not
    change before the new model is complete. format: "q4_0" quantizes the matrices, "f32" keeps every value.
    info: metadata for the manifest; an empty title becomes the name of `dest`, an empty source that of `source`.
    mimi_format: "f16" rounds Mimi to float16, except its codebooks. embeddings: format of the transformer's embedding
    tables; None: determined by `format`.
    Raises BadModel if the checkpoint is invalid, BadOption if `dest` is something else.
    """
    dest = dest.resolve()
    if dest.exists() and not (dest.is_dir() and (_is_model(dest) or not any(dest.iterdir()))):
        raise BadOption("The destination", str(dest), ("a new folder", "an empty folder", "a model directory"))
    info = info or ModelInfo()
    info = replace(info, title=info.title or dest.name, source=info.source or source.resolve().name)
    checkpoint = Checkpoint.open(source)
    _check_shapes(checkpoint)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as unfinished:
        lm = _lm_tensors(checkpoint, _MATRIX_FORMATS[format], embeddings or _MATRIX_FORMATS[format])
        mimi = _mimi_tensors(checkpoint, mimi_format)
        _write_model(checkpoint, lm, mimi, Path(unfinished), dest.name, info)
        _replace(dest, Path(unfinished))


def _check_shapes(checkpoint: Checkpoint) -> None:
    """Raise BadModel if a tensor is missing or unknown, or its shape differs, so that loading does not fail later."""
    for name in checkpoint.lm:
        if not name.startswith(_LM_PREFIXES):
            raise BadModel(f"the tensor {name} does not belong to a speech-to-text transformer")
    LMWeights.from_tensors(checkpoint.lm_config, checkpoint.lm.zeros())
    mimi = EncoderTensors(checkpoint.mimi.zeros(), checkpoint.mimi_config)
    MimiWeights.from_tensors(checkpoint.mimi_config, mimi)


def _write_model(
    checkpoint: Checkpoint, lm: NamedTensors, mimi: NamedTensors, folder: Path, name: str, info: ModelInfo
) -> None:
    lm_files = write_shards(folder, "lm", lm)
    mimi_files = write_shards(folder, "mimi", mimi)
    (folder / _TOKENIZER_NAME).write_bytes(checkpoint.tokenizer)
    manifest = Manifest(
        **vars(info),
        name=name,
        config_json=checkpoint.config_json,
        mimi_config_json=checkpoint.mimi_config_json,
        files=(*lm_files, *mimi_files, describe(folder / _TOKENIZER_NAME, "tokenizer")),
    )
    (folder / MANIFEST_NAME).write_text(manifest.serialize(), "utf-8")


def _lm_tensors(checkpoint: Checkpoint, matrices: MatrixFormat, tables: MatrixFormat) -> Iterator[tuple[str, Tensor]]:
    for name in checkpoint.lm:
        tensor = _finite_float32(name, checkpoint.lm[name])
        matrix_format = tables if name.startswith(_EMBEDDINGS) else matrices
        if matrix_format == "f32" or tensor.ndim != 2 or name.startswith("extra_heads."):
            yield name, tensor
            continue
        try:
            matrix = _QUANTIZERS[matrix_format](tensor)
        except BadModel as error:
            raise BadModel(f"{name} cannot be quantized: {error.reason}") from error
        yield f"{name}.{matrix.format}", matrix.blocks
        yield f"{name}.scale", matrix.scale


def _mimi_tensors(checkpoint: Checkpoint, format: MimiFormat) -> Iterator[tuple[str, Tensor]]:
    """Mimi's tensors: float16 unchanged, everything else in float32; or, for "f16", all but the codebooks in float16.

    Codebooks are stored as sums over their uses, which exceed the range and precision of float16.
    """
    for name, tensor in EncoderTensors(checkpoint.mimi, checkpoint.mimi_config).items():
        if tensor.dtype == np.int8:  # whole numbers, whose scales are in the vectors before or after them
            yield name, tensor
            continue
        values = _finite_float32(name, tensor)
        if tensor.dtype == np.float16 or (format == "f16" and "_codebook." not in name):
            with np.errstate(over="ignore"):
                halves = values.astype(np.float16)
            if not np.isfinite(halves).all():
                raise BadModel(f"the tensor {name} holds a value outside the range of float16")
            yield name, halves
        else:
            yield name, values


def _finite_float32(name: str, tensor: Tensor) -> NDArray[np.float32]:
    values = tensor.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise BadModel(f"the tensor {name} holds a value that is not finite")
    return values


def _is_model(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()


def _replace(dest: Path, finished: Path) -> None:
    """Move a complete model to `dest`. Removes the manifest first and moves it last: a partial model has none."""
    dest.mkdir(exist_ok=True)
    (dest / MANIFEST_NAME).unlink(missing_ok=True)
    for stale in (*dest.glob("lm-*.safetensors"), *dest.glob("mimi-*.safetensors")):
        stale.unlink()
    for path in sorted(finished.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
        path.replace(dest / path.name)
