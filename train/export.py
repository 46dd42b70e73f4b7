"""Write a checkpoint in the official layout: config.json, mimi_config.json, model.safetensors, mimi.safetensors,
tokenizer.model, with a model card (README.md) and the metrics it quotes.

    python -m train.export CHECKPOINT TOKENIZER DEST

CHECKPOINT must also contain metrics.json, written by `train.evaluate`. The matrices of Mimi's transformer hold whole
numbers and are stored in 8 bits; the others are f16. `python -m tympan.quantize.demo DEST` then makes the site's demo
model.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .card import card
from .checkpoint import config_of, load_models
from .config import FRAME, SAMPLE_RATE, Config


def official(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the state dict without the training heads. Its names are the official ones."""
    named = module.state_dict().items()
    return {name: _stored(name, tensor).cpu() for name, tensor in named if not name.startswith("train_")}


def _stored(name: str, tensor: Tensor) -> Tensor:
    """Convert whole numbers (see `round_mimi`) to 8 bits, vectors and counts to float32, all else to float16."""
    if tensor.dim() == 2 and tensor.abs().max() == 127 and bool((tensor == tensor.round()).all()):
        return tensor.to(torch.int8)
    return tensor.to(torch.float32 if "cluster_usage" in name or tensor.dim() < 2 else torch.float16)


def mimi_config(c: Config) -> dict:
    """Return the config of this encoder in the official format."""
    seanet = {
        "channels": 1, "dimension": c.mimi_dim, "causal": True, "n_filters": c.filters, "n_residual_layers": 1,
        "activation": "ELU", "compress": 2, "dilation_base": 2, "disable_norm_outer_blocks": 0, "kernel_size": 7,
        "residual_kernel_size": 3, "last_kernel_size": 3, "norm": "none", "pad_mode": "constant",
        "ratios": list(reversed(c.ratios)), "true_skip": True,
    }  # fmt: skip
    transformer = {
        "d_model": c.mimi_dim, "num_heads": c.mimi_heads, "num_layers": c.mimi_layers, "causal": True,
        "layer_scale": 0.01, "context": c.mimi_context, "conv_layout": True, "max_period": 10000, "gating": "none",
        "norm": "layer_norm", "positional_embedding": "rope", "dim_feedforward": c.mimi_ff,
        "input_dimension": c.mimi_dim, "output_dimensions": [c.mimi_dim],
    }  # fmt: skip
    quantizer = {
        "dimension": c.codebook_dim, "n_q": c.codebooks, "bins": c.codebook_size, "input_dimension": c.mimi_dim,
        "output_dimension": c.mimi_dim,
    }  # fmt: skip
    rates = {"sample_rate": SAMPLE_RATE, "channels": 1, "frame_rate": SAMPLE_RATE / FRAME}
    return {**rates, "seanet": seanet, "transformer": transformer, "quantizer": quantizer}


def lm_config(c: Config) -> dict:
    return {
        "card": c.codebook_size, "n_q": c.codebooks, "dep_q": 0, "delays": [0] * (c.codebooks + 1), "dim": c.lm_dim,
        "text_card": c.text_card, "existing_text_padding_id": 3, "num_heads": c.lm_heads, "num_layers": c.lm_layers,
        "hidden_scale": c.lm_hidden_scale, "causal": True, "layer_scale": None, "context": c.lm_context,
        "max_period": c.lm_max_period, "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope",
        "model_type": "stt",
        "stt_config": {
            "audio_silence_prefix_seconds": c.prefix * FRAME / SAMPLE_RATE,
            "audio_delay_seconds": c.delay * FRAME / SAMPLE_RATE,
        },
        "lm_gen_config": {"temp": 0.0, "temp_text": 0.0}, "mimi_name": "mimi.safetensors",
        "moshi_name": "model.safetensors", "mimi_config_name": "mimi_config.json", "tokenizer_name": "tokenizer.model",
    }  # fmt: skip


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("checkpoint", type=Path)
    cli.add_argument("tokenizer", type=Path)
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    mimi, lm, state = load_models(a.checkpoint, torch.device("cpu"))
    if lm is None:
        raise SystemExit("this checkpoint has no language model yet")
    a.dest.mkdir(parents=True, exist_ok=True)
    tensors = {"mimi.safetensors": official(mimi), "model.safetensors": official(lm)}
    for name, content in tensors.items():
        save_file(content, a.dest / name, {"format": "pt"})
    config = config_of(state)
    (a.dest / "mimi_config.json").write_text(json.dumps(mimi_config(config), indent=1))
    (a.dest / "config.json").write_text(json.dumps(lm_config(config), indent=1))
    shutil.copyfile(a.tokenizer, a.dest / "tokenizer.model")
    shutil.copyfile(a.checkpoint / "metrics.json", a.dest / "metrics.json")
    metrics = json.loads((a.dest / "metrics.json").read_text())
    n_parameters = [sum(t.numel() for t in content.values()) for content in tensors.values()]
    (a.dest / "README.md").write_text(card(config, metrics, *n_parameters))
    for path in sorted(a.dest.iterdir()):
        print(f"{path.stat().st_size:10} {path.name}")


if __name__ == "__main__":
    main()
