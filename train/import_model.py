"""Turn a model directory of the site into a checkpoint, so that training can continue from shipped weights.

    python -m train.import_model MODEL DEST

MODEL is a folder such as static/models/demo, DEST the checkpoint to write. All matrices are dequantized. What a model
does not contain, the training heads and the projections from the quantizer, starts from nothing: give the trainer a
warm-up for them. `tympan` must be importable (app/).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tympan.weights import safetensors
from tympan.weights.manifest import MANIFEST_NAME, Manifest
from tympan.weights.matrix import BLOCKS

from .config import FRAME, SAMPLE_RATE, Config


def read_model(folder: Path) -> tuple[Config, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The sizes of a model, and the float32 tensors of its Mimi and its transformer under their official names."""
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    networks = []
    for role in ("mimi", "lm"):
        stored: dict[str, np.ndarray] = {}
        for file in manifest.files_of(role):
            stored |= safetensors.read((folder / file.path).read_bytes(), file.path)
        networks.append(dequantize(stored))
    return config_of(manifest.config_json, manifest.mimi_config_json), networks[0], networks[1]


def dequantize(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Float32 tensors; a matrix W of quantized blocks is stored as the pair `W.FORMAT`, `W.scale`."""
    dense: dict[str, np.ndarray] = {}
    for name, tensor in stored.items():
        base, _, ending = name.rpartition(".")
        if ending in BLOCKS:
            scale = stored[f"{base}.scale"]
            dense[base] = BLOCKS[ending](tensor, scale, 32 * scale.shape[1]).dequantize()
        elif ending != "scale" or "layer_scale" in base:
            dense[name] = np.array(tensor, np.float32)
    return dense


def config_of(lm: Mapping[str, Any], mimi: Mapping[str, Any]) -> Config:
    """The inverse of `export.lm_config` and `export.mimi_config`."""
    seanet, transformer, quantizer = mimi["seanet"], mimi["transformer"], mimi["quantizer"]
    times = lm["stt_config"]
    return Config(
        filters=seanet["n_filters"], ratios=tuple(reversed(seanet["ratios"])), mimi_dim=transformer["d_model"],
        mimi_layers=transformer["num_layers"], mimi_heads=transformer["num_heads"],
        mimi_ff=transformer["dim_feedforward"], mimi_context=transformer["context"],
        codebook_dim=quantizer["dimension"], codebooks=quantizer["n_q"], codebook_size=quantizer["bins"],
        lm_dim=lm["dim"], lm_layers=lm["num_layers"], lm_heads=lm["num_heads"], lm_hidden_scale=lm["hidden_scale"],
        lm_context=lm["context"], lm_max_period=lm["max_period"], text_card=lm["text_card"],
        delay=round(times["audio_delay_seconds"] * SAMPLE_RATE / FRAME),
        prefix=round(times["audio_silence_prefix_seconds"] * SAMPLE_RATE / FRAME),
    )  # fmt: skip


def main() -> None:
    import torch

    from . import checkpoint
    from .lm import Lm
    from .mimi import Mimi

    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("model", type=Path)
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    config, *networks = read_model(a.model)
    torch.manual_seed(0)
    mimi, lm = Mimi(config), Lm(config)
    modules: tuple[torch.nn.Module, torch.nn.Module] = (mimi, lm)
    for module, tensors in zip(modules, networks, strict=True):
        missing = module.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
        assert not missing.unexpected_keys, missing.unexpected_keys
        new = sorted({name.split(".")[0] for name in missing.missing_keys})
        print(f"{type(module).__name__}: not in the model: {', '.join(new)}")
    for book in mimi.books:
        book._initialized.fill_(1)
    state = {"config": config.as_dict(), "step": 0, "seconds": 0.0, "share": 1.0, "frozen": True, "lm_started": True}
    checkpoint.save(a.dest, mimi, lm, state)


if __name__ == "__main__":
    main()
