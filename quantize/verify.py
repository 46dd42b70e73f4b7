"""Verifies a model directory: loads it like the page does and reads every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tympan.errors import BadModel
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import MimiWeights
from tympan.text.tokenizer import Tokenizer
from tympan.weights.manifest import Manifest
from tympan.weights.model import Folder, read_model
from tympan.weights.safetensors import Tensor


async def verify(folder: Path) -> Manifest:
    """Check lengths, hashes, names, shapes, and that every value is finite.

    Returns the manifest of a valid model. Raises UnknownModel, CorruptFile or BadModel with the first problem found.
    """
    files = await read_model(Folder(folder))
    manifest = files.manifest
    LMWeights.from_tensors(manifest.lm_config, files.lm)
    MimiWeights.from_tensors(manifest.mimi_config, files.mimi)
    n_pieces = len(Tokenizer.from_bytes(files.tokenizer).pieces)
    if n_pieces < manifest.lm_config.text_card:
        raise BadModel(f"the tokenizer has {n_pieces} pieces, the transformer expects {manifest.lm_config.text_card}")
    for tensors in (files.lm, files.mimi):
        _check_finite(tensors)
    return manifest


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name in tensors:
        tensor = tensors[name]
        if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
            raise BadModel(f"the tensor {name} holds a value that is not finite")
