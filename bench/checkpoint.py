"""A random Mimi encoder of the released size, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tympan.arrays import Float32
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.weights.mimi_names import encoder_names

SEED = 7
HIDDEN = 2048
SEANET_GAIN = 1.4  # ELU loses some of the signal
CODEBOOK_DEVIATION, RESIDUAL_SHRINKS = 0.6, 0.97  # random codebooks take only a little of the residual away

MIMI_JSON: dict[str, Any] = {  # kyutai-labs/moshi@e6a55d2 moshi/models/loaders.py
    "sample_rate": 24000, "channels": 1, "frame_rate": 12.5,
    "seanet": {
        "channels": 1, "dimension": 512, "causal": True, "n_filters": 64, "n_residual_layers": 1, "activation": "ELU",
        "compress": 2, "dilation_base": 2, "disable_norm_outer_blocks": 0, "kernel_size": 7, "residual_kernel_size": 3,
        "last_kernel_size": 3, "norm": "none", "pad_mode": "constant", "ratios": [8, 6, 5, 4], "true_skip": True,
    },
    "quantizer": {"dimension": 256, "n_q": 32, "bins": 2048, "input_dimension": 512, "output_dimension": 512},
    "transformer": {
        "d_model": 512, "num_heads": 8, "num_layers": 8, "causal": True, "layer_scale": 0.01, "context": 250,
        "conv_layout": True, "max_period": 10000, "gating": "none", "norm": "layer_norm",
        "positional_embedding": "rope", "dim_feedforward": HIDDEN, "input_dimension": 512, "output_dimensions": [512],
    },
}  # fmt: skip
CONFIG = MimiConfig.from_json(MIMI_JSON, n_codebooks=32)


def write(path: Path) -> None:
    """Write the checkpoint as a safetensors file of float32 under the official names."""
    save_file(dict(_tensors()), path)


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
    """Values that keep a signal about as large as it comes in, so that codes depend on what is said."""
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
    """Multiplications of weights for one frame of 80 ms, the search in every codebook included."""
    shapes = _shapes(CONFIG)
    return sum(n_rows * prod(shapes[name]) for name, n_rows in _rows_a_frame(CONFIG))


def n_bytes_a_frame() -> int:
    """Bytes of weights read for one frame: int16 in the transformer, int8 in the codebooks, float32 elsewhere."""
    shapes, total = _shapes(CONFIG), 0
    for name, _ in _rows_a_frame(CONFIG):
        width = 1 if name.endswith("embedding_sum") else 2 if name.startswith("encoder_transformer") else 4
        total += width * prod(shapes[name])
    return total


def _rows_a_frame(config: MimiConfig) -> Iterator[tuple[str, int]]:
    """Each matrix that `encoder_names` lists, and with how many vectors a frame multiplies it."""
    n_rows, shapes = FRAME_SAMPLES, _shapes(config)
    for name in encoder_names(config):
        if len(shapes[name]) == 1:  # a bias, a scale, a count
            continue
        # A stage keeps the rate until its last convolution, layer 3, 6, 9, ... of SEANet, lowers it.
        layer = name.split(".")[2]
        if name.startswith("encoder.model") and ".block." not in name and layer not in ("0", "14"):
            n_rows //= config.ratios[int(layer) // 3 - 1]
        yield name, 1 if name.startswith(("downsample", "quantizer")) else n_rows
