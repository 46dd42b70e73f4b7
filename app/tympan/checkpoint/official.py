"""Names and defaults of the official checkpoints: what `config.json` omits, and the Mimi config of the released models.

Source: kyutai-labs/moshi@e6a55d2 moshi/moshi/models/loaders.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONFIG_NAME = "config.json"
MIMI_CONFIG: dict[str, Any] = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1, "dimension": 512, "causal": True, "n_filters": 64, "n_residual_layers": 1, "activation": "ELU",
        "compress": 2, "dilation_base": 2, "disable_norm_outer_blocks": 0, "kernel_size": 7, "residual_kernel_size": 3,
        "last_kernel_size": 3, "norm": "none", "pad_mode": "constant", "ratios": [8, 6, 5, 4], "true_skip": True,
    },
    "quantizer": {"dimension": 256, "n_q": 32, "bins": 2048, "input_dimension": 512, "output_dimension": 512},
    "transformer": {
        "d_model": 512, "num_heads": 8, "num_layers": 8, "causal": True, "layer_scale": 0.01, "context": 250,
        "conv_layout": True, "max_period": 10000, "gating": "none", "norm": "layer_norm",
        "positional_embedding": "rope", "dim_feedforward": 2048, "input_dimension": 512, "output_dimensions": [512],
    },
}  # fmt: skip


@dataclass(frozen=True)
class FileNames:
    """Names of a checkpoint's files, besides `config.json`."""

    lm: str
    mimi: str
    tokenizer: str
    mimi_config: str  # "" if MIMI_CONFIG applies

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> FileNames:
        """The names in the parsed `config.json`, or their defaults."""
        return cls(
            lm=str(config.get("moshi_name", "model.safetensors")),
            mimi=str(config.get("mimi_name", "tokenizer-e351c8d8-checkpoint125.safetensors")),
            tokenizer=str(config.get("tokenizer_name", "tokenizer_spm_32k_3.model")),
            mimi_config=str(config.get("mimi_config_name") or ""),
        )
