"""Turns an official checkpoint into a model directory that the page can load.

    config.json, model.safetensors      ->  model.json
    (F32, F16 or BF16, one or shards)       lm-00001.safetensors ...     matrices in Q4 or Q8, all else in float32
    Mimi's safetensors                      mimi-00001.safetensors ...   the encoder alone
    the SentencePiece model                 tokenizer.model

What `config.json` does not say is taken as the official loader takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantize import scales
from quantize.checkpoint import Checkpoint
from quantize.shards import describe, write_shards
from tympan.arrays import Float32
from tympan.errors import BadModel, BadOption
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import MimiWeights
from tympan.weights import q8
from tympan.weights.blocks import BlockMatrix
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


@dataclass(frozen=True)
class About:
    """What a manifest says of a model beyond its numbers; `Manifest` tells what each means."""

    title: str = ""  # empty: the name of the model directory
    languages: tuple[str, ...] = ()
    licence: str = "not stated"
    source: str = ""  # empty: the name of the checkpoint directory
    notes: str = ""


def quantize(
    source: Path,
    dest: Path,
    format: Format = "q4_0",
    about: About | None = None,
    mimi_format: MimiFormat = "as-is",
    embeddings: MatrixFormat | None = None,
) -> None:
    """Convert a checkpoint, tensor by tensor: no more than one of them and one shard is in memory.

    source: an official checkpoint directory. dest: a new or empty folder, or a model directory to replace; nothing
    in it changes before the new model is complete. format: "q4_0" quantizes the matrices, "f32" keeps every value.
    about: what the manifest is to say of the model. mimi_format: "f16" rounds Mimi, all but its codebooks.
    embeddings: how the transformer's tables are stored; None is as `format` says.
    Raises BadModel when the checkpoint cannot be used, BadOption when `dest` is neither.
    """
    dest = dest.resolve()
    if dest.exists() and not (dest.is_dir() and (_is_model(dest) or not any(dest.iterdir()))):
        raise BadOption("The destination", str(dest), ("a new folder", "an empty folder", "a model directory"))
    about = about or About()
    about = replace(about, title=about.title or dest.name, source=about.source or source.resolve().name)
    checkpoint = Checkpoint.open(source)
    _check_shapes(checkpoint)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as unfinished:
        lm = _lm_tensors(checkpoint, _MATRIX_FORMATS[format], embeddings or _MATRIX_FORMATS[format])
        mimi = _mimi_tensors(checkpoint, mimi_format)
        _write_model(checkpoint, lm, mimi, Path(unfinished), dest.name, about)
        _replace(dest, Path(unfinished))


def _check_shapes(checkpoint: Checkpoint) -> None:
    """Raise BadModel now, and not in the page, when a tensor is missing, unknown or of another shape."""
    for name in checkpoint.lm:
        if not name.startswith(_LM_PREFIXES):
            raise BadModel(f"the tensor {name} is no part of a speech-to-text transformer")
    LMWeights.from_tensors(checkpoint.lm_config, checkpoint.lm.stand_ins())
    mimi = EncoderTensors(checkpoint.mimi.stand_ins(), checkpoint.mimi_config)
    MimiWeights.from_tensors(checkpoint.mimi_config, mimi)


def _write_model(
    checkpoint: Checkpoint, lm: NamedTensors, mimi: NamedTensors, folder: Path, name: str, about: About
) -> None:
    lm_files = write_shards(folder, "lm", lm)
    mimi_files = write_shards(folder, "mimi", mimi)
    (folder / _TOKENIZER_NAME).write_bytes(checkpoint.tokenizer)
    manifest = Manifest(
        name=name,
        title=about.title,
        languages=about.languages,
        licence=about.licence,
        source=about.source,
        notes=about.notes,
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
    """Mimi as exact as it was stored, a float16 as it is, anything else in float32; or all but codebooks in float16.

    A codebook is stored as sums over its uses, which float16 can neither hold nor divide well.
    """
    for name, tensor in EncoderTensors(checkpoint.mimi, checkpoint.mimi_config).items():
        values = _finite_float32(name, tensor)
        if tensor.dtype == np.float16 or (format == "f16" and "_codebook." not in name):
            with np.errstate(over="ignore"):
                halves = values.astype(np.float16)
            if not np.isfinite(halves).all():
                raise BadModel(f"the tensor {name} holds a value that float16 cannot")
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
    """Move a complete model to `dest`: the manifest goes first and comes last, so that half a model is none."""
    dest.mkdir(exist_ok=True)
    (dest / MANIFEST_NAME).unlink(missing_ok=True)
    for stale in (*dest.glob("lm-*.safetensors"), *dest.glob("mimi-*.safetensors")):
        stale.unlink()
    for path in sorted(finished.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
        path.replace(dest / path.name)
