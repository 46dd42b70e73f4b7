"""Writes a random transformer of the released size in the layout of kyutai/stt-1b-en_fr-candle.

Its matrices lie on the grid of Q4, so quantizing them loses nothing, and the tokens of the official implementation can
be compared one by one: every scale is m * 2^-e with m in 8 .. 15, which bfloat16 and float16 represent, and one element
of each block is -8 scales, from which the rule of Q4 finds the scale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.random_lm import hidden_width, random_lm
from tympan.arrays import Float32
from tympan.cli.site import ROOT
from tympan.config import LMConfig
from tympan.lm.weights import LMWeights
from tympan.weights.file import TensorInfo
from tympan.weights.matrix import Matrix
from tympan.weights.q4 import Q4Matrix
from tympan.weights.safetensors import header_of

MODEL = "kyutai-stt-1b"  # in the catalogue
LM_NAME, MIMI_NAME = "model.safetensors", "mimi-pytorch-e351c8d8@125.safetensors"
TOKENIZER_NAME = "tokenizer_en_fr_audio_8000.model"

SCALE_STEPS = 16  # of a scale's mantissa in 0.5 .. 1
TEXT_EMBEDDING_FACTOR = 1 / 8  # so that one other token does not change all later ones
PADDING_FACTOR = 16  # of the padding token's logit, which is then the largest in some frames


def hub() -> dict[str, str]:
    """Host, repository and revision of the model in the catalogue."""
    return dict(_entry(MODEL)["hub"])


def files_path() -> str:
    """Path of the repository's files on its host."""
    return f"{hub()['repository']}/resolve/{hub()['revision']}"


def config_json() -> dict[str, Any]:
    """A `config.json` with the keys of the official ones and the numbers of stt-1b-en_fr with its pause heads."""
    golden = json.loads((ROOT / "tests" / "golden" / "a" / "config.json").read_text("utf-8"))
    kept = {key: value for key, value in golden.items() if not key.endswith("_name")}
    names = {"mimi_name": MIMI_NAME, "tokenizer_name": TOKENIZER_NAME}
    return kept | _entry("stt-1b-en_fr")["config"] | names


def write_lm(path: Path, config: Mapping[str, Any]) -> None:
    """Write the transformer in bfloat16. config: the parsed `config.json`. One matrix is in memory at a time."""
    lm_config = LMConfig.from_json(config)
    tensors = official_tensors(random_lm(lm_config, hidden_width(config)))
    with path.open("wb") as file:
        file.write(
            header_of(TensorInfo(name, "BF16", _shape(name, of), 2 * prod(of.shape)) for name, of in tensors.items())
        )
        for name, tensor in tensors.items():
            file.write(to_bfloat16(_values(name, tensor, lm_config)).tobytes())


def official_tensors(weights: LMWeights) -> dict[str, Matrix]:
    """The weights by their official names."""
    tensors: dict[str, Matrix] = {f"emb.{k}.weight": table for k, table in enumerate(weights.embeddings)}
    tensors["text_emb.weight"] = weights.text_embedding
    for i, layer in enumerate(weights.layers):
        prefix = f"transformer.layers.{i}"
        tensors |= {
            f"{prefix}.norm1.alpha": layer.norm1,
            f"{prefix}.self_attn.in_proj_weight": layer.in_proj,
            f"{prefix}.self_attn.out_proj.weight": layer.out_proj,
            f"{prefix}.norm2.alpha": layer.norm2,
            f"{prefix}.gating.linear_in.weight": layer.linear_in,
            f"{prefix}.gating.linear_out.weight": layer.linear_out,
        }
    tensors |= {"out_norm.alpha": weights.out_norm, "text_linear.weight": weights.text_linear}
    return tensors | {f"extra_heads.{i}.weight": head for i, head in enumerate(weights.extra_heads)}


def on_grid(matrix: Q4Matrix) -> Q4Matrix:
    """The matrix with scales of 4 significant bits and -8 as the first integer of each block."""
    blocks = matrix.blocks.copy()
    blocks[..., 0] &= 0xF0  # nibble 0
    mantissa, exponent = np.frexp(matrix.scale.astype(np.float32))
    scale = np.ldexp(np.rint(mantissa * SCALE_STEPS) / SCALE_STEPS, exponent)
    return Q4Matrix(blocks, scale.astype(np.float16), matrix.k)


def to_bfloat16(values: Float32) -> NDArray[np.uint16]:
    """The bits of the values in bfloat16, rounded to the nearest."""
    return ((np.ascontiguousarray(values).view(np.uint32) + 0x8000) >> 16).astype("<u2")


def write_listing(path: Path, files: Mapping[str, tuple[int, str]]) -> None:
    """Write the Hub's listing of a repository. files: name -> size and SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listing = [
        {"type": "file", "path": name, "size": size, "lfs": {"oid": sha256, "size": size}}
        for name, (size, sha256) in files.items()
    ]
    path.write_text(json.dumps(listing), "utf-8")


def _values(name: str, tensor: Matrix, config: LMConfig) -> Float32:
    if isinstance(tensor, np.ndarray):
        return tensor
    assert isinstance(tensor, Q4Matrix)
    values = on_grid(tensor).dequantize()
    if name == "text_emb.weight":
        values *= np.float32(TEXT_EMBEDDING_FACTOR)
    if name == "text_linear.weight":
        values[config.padding_id] *= np.float32(PADDING_FACTOR)
    return values


def _shape(name: str, tensor: Matrix) -> tuple[int, ...]:
    return (1, 1, *tensor.shape) if name.endswith(".alpha") else tensor.shape


def _entry(model: str) -> dict[str, Any]:
    catalogue = json.loads((ROOT / "static" / "models" / "catalogue.json").read_text("utf-8"))
    return next(entry for entry in catalogue["models"] if entry["id"] == model)
