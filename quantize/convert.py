"""Converts an official checkpoint to a model directory that the page can load.

    config.json, model.safetensors      ->  model.json
    (F32, F16 or BF16, one or shards)       lm-00001.safetensors ...     matrices in Q4 or Q8, the rest in float32
    Mimi's safetensors                      mimi-00001.safetensors ...   the encoder only
    the SentencePiece model                 tokenizer.model

Keys that `config.json` omits have the defaults of the official loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np

from tympan.checkpoint.conversion import (
    TOKENIZER_NAME,
    Formats,
    MimiFormat,
    check_mimi,
    convert,
    plan_lm,
    plan_mimi,
)
from tympan.errors import BadOption
from tympan.quantize.checkpoint import Checkpoint
from tympan.quantize.shards import describe
from tympan.weights.info import ModelInfo
from tympan.weights.manifest import MANIFEST_NAME, Manifest, Role
from tympan.weights.matrix import MatrixFormat
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.safetensors import Tensor

Format: TypeAlias = Literal["q4_0", "f32"]

_MATRIX_FORMATS: dict[Format, MatrixFormat] = {"q4_0": "q4", "f32": "f32"}


def quantize(
    source: Path,
    dest: Path,
    format: Format = "q4_0",
    info: ModelInfo | None = None,
    mimi_format: MimiFormat = "as-is",
    embeddings: MatrixFormat | None = None,
) -> None:
    """Convert a checkpoint tensor by tensor: at most one tensor and its result are in memory.

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
    matrices = _MATRIX_FORMATS[format]
    formats = Formats(matrices, embeddings or matrices, mimi_format)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as unfinished:
        _write_model(checkpoint, formats, Path(unfinished), dest.name, info)
        _replace(dest, Path(unfinished))


def _write_model(checkpoint: Checkpoint, formats: Formats, folder: Path, name: str, info: ModelInfo) -> None:
    mimi = EncoderTensors(checkpoint.mimi, checkpoint.mimi_config)
    mimi_shards = plan_mimi(mimi, checkpoint.mimi, formats)
    check_mimi(checkpoint.mimi_config, mimi_shards)
    tensors: dict[Role, Mapping[str, Tensor]] = {"lm": checkpoint.lm, "mimi": mimi}
    shards = [*plan_lm(checkpoint.lm_config, checkpoint.lm, formats), *mimi_shards]
    for shard in shards:
        with (folder / shard.path).open("wb") as file:
            file.write(shard.header)
            for conversion in shard.conversions:
                for array in convert(conversion, tensors[shard.role]):
                    file.write(np.ascontiguousarray(array).data)
    (folder / TOKENIZER_NAME).write_bytes(checkpoint.tokenizer)
    files = [describe(folder / shard.path, shard.role) for shard in shards]
    manifest = Manifest(
        **vars(info),
        name=name,
        config_json=checkpoint.config_json,
        mimi_config_json=checkpoint.mimi_config_json,
        files=(*files, describe(folder / TOKENIZER_NAME, "tokenizer")),
    )
    (folder / MANIFEST_NAME).write_text(manifest.serialize(), "utf-8")


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
