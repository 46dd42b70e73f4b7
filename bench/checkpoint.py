"""A random Mimi encoder of the released size; deterministic, so equal on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tympan.arrays import Float32
from tympan.checkpoint.official import MIMI_CONFIG
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.weights.mimi_names import encoder_names

SEED = 7
SEANET_GAIN = 1.4  # compensates for the signal that ELU removes
CODEBOOK_DEVIATION, RESIDUAL_SHRINKS = 0.6, 0.97  # random codebooks reduce the residual only slightly

MIMI_JSON = MIMI_CONFIG
HIDDEN: int = MIMI_CONFIG["transformer"]["dim_feedforward"]
CONFIG = MimiConfig.from_json(MIMI_JSON, n_codebooks=32)


def write(path: Path, dtype: type[np.floating[Any]] = np.float32) -> None:
    """Write the checkpoint as a safetensors file with the official names. dtype: of the matrices."""
    save_file({name: tensor.astype(dtype if tensor.ndim > 1 else np.float32) for name, tensor in _tensors()}, path)


def _tensors() -> Iterator[tuple[str, NDArray[np.generic]]]:
    rng, shapes = np.random.default_rng(SEED), _shapes(CONFIG)
    for name in encoder_names(CONFIG):
        yield name, _tensor(rng, name, shapes[name])


def _shapes(config: MimiConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that `encoder_names` lists."""
    d, width, n_bins, channels = config.transformer.d, config.quantizer_width, config.n_bins, config.n_filters
    convs = {"encoder.model.0.conv": (channels, 1, config.kernel_size)}
    n = 1
    for ratio in config.ratios:
        inner = channels // config.compress
        convs[f"encoder.model.{n}.block.1.conv"] = (inner, channels, config.residual_kernel_size)
        convs[f"encoder.model.{n}.block.3.conv"] = (channels, inner, 1)
        convs[f"encoder.model.{n + 2}.conv"] = (2 * channels, channels, 2 * ratio)
        channels, n = 2 * channels, n + 3
    convs[f"encoder.model.{n + 1}.conv"] = (d, channels, config.last_kernel_size)
    shapes: dict[str, tuple[int, ...]] = {"downsample.conv.conv.conv.weight": (d, d, 4)}
    for name, shape in convs.items():
        shapes |= {f"{name}.conv.weight": shape, f"{name}.conv.bias": shape[:1]}
    for i in range(config.transformer.n_layers):
        layer = f"encoder_transformer.transformer.layers.{i}."
        shapes |= {layer + f"norm{j}.{part}": (d,) for j in (1, 2) for part in ("weight", "bias")}
        shapes |= {layer + f"layer_scale_{j}.scale": (d,) for j in (1, 2)}
        shapes |= {layer + "self_attn.in_proj_weight": (3 * d, d), layer + "self_attn.out_proj.weight": (d, d)}
        shapes |= {layer + "linear1.weight": (HIDDEN, d), layer + "linear2.weight": (d, HIDDEN)}
    for half in ("quantizer.rvq_first", "quantizer.rvq_rest"):
        shapes[f"{half}.input_proj.weight"] = (width, d, 1)
        for level in range(config.n_codebooks):
            codebook = f"{half}.vq.layers.{level}._codebook"
            shapes |= {f"{codebook}.embedding_sum": (n_bins, width), f"{codebook}.cluster_usage": (n_bins,)}
    return shapes


def _tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Float32:
    """Random values that preserve the signal's level, so that the codes depend on the input."""
    values = rng.standard_normal(shape, np.float32)
    if name.endswith("cluster_usage"):
        return np.ones(shape, np.float32)
    if name.endswith("embedding_sum"):
        level = int(name.split(".layers.")[1].split(".")[0])
        return np.float32(CODEBOOK_DEVIATION * RESIDUAL_SHRINKS**level) * values
    if name.endswith(".scale"):
        return rng.uniform(0.05, 0.2, shape).astype(np.float32)
    if "norm" in name and name.endswith("weight"):
        return 1 + np.float32(0.1) * values
    if name.endswith("bias"):
        return np.float32(0.05) * values
    gain = SEANET_GAIN if name.startswith("encoder.model") else 1.0
    return np.float32(gain / np.sqrt(np.prod(shape[1:]))) * values


def n_multiplications() -> int:
    """Number of multiplications with weights for one 80 ms frame, including the codebook searches."""
    shapes = _shapes(CONFIG)
    return sum(n_rows * prod(shapes[name]) for name, n_rows in _rows_a_frame(CONFIG))


def n_bytes_a_frame() -> int:
    """Bytes of weights read per frame: int16 in the transformer, int8 in the codebooks, float32 elsewhere."""
    shapes, total = _shapes(CONFIG), 0
    for name, _ in _rows_a_frame(CONFIG):
        width = 1 if name.endswith("embedding_sum") else 2 if name.startswith("encoder_transformer") else 4
        total += width * prod(shapes[name])
    return total


def _rows_a_frame(config: MimiConfig) -> Iterator[tuple[str, int]]:
    """Each matrix that `encoder_names` lists, and the number of vectors it is multiplied with per frame."""
    n_rows, shapes = FRAME_SAMPLES, _shapes(config)
    for name in encoder_names(config):
        if len(shapes[name]) == 1:  # a bias, a scale, a count
            continue
        # Only the last convolution of a stage, layer 3, 6, 9, ... of SEANet, reduces the rate.
        layer = name.split(".")[2]
        if name.startswith("encoder.model") and ".block." not in name and layer not in ("0", "14"):
            n_rows //= config.ratios[int(layer) // 3 - 1]
        yield name, 1 if name.startswith(("downsample", "quantizer")) else n_rows
