"""Recomputes a golden folder's `expected.npz` with the official implementation.

    python -m venv golden
    golden/bin/pip install torch==2.13.0 numpy==2.2.6 safetensors sentencepiece einops huggingface_hub
    golden/bin/pip install --no-deps moshi==0.2.13
    golden/bin/python tests/golden/make_golden.py tests/golden/a --check

Without `--check` the file is overwritten. `meta.json` describes each array under "arrays". The tests only read the
arrays and need none of these packages.
"""

# mypy: disable-error-code="import-not-found"
# (the project does not depend on torch and moshi)

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

os.environ["NO_TORCH_COMPILE"] = "1"  # on a CPU, compilation changes the output norm

import numpy as np
import torch
from moshi.models.compression import MimiModel
from moshi.models.lm import LMGen, LMModel
from moshi.models.loaders import get_mimi, get_moshi_lm
from moshi.modules.conv import pad_for_conv1d
from numpy.typing import NDArray
from torch import Tensor

Arrays = dict[str, NDArray[Any]]

FRAME_SAMPLES = 1920
FRAME_RATE_HZ = 12.5
TOLERANCE = 1e-4  # float32 sums differ between machines

# Keys of config.json that do not configure the transformer. Source: moshi/models/loaders.py, CheckpointInfo.
NOT_LM_KEYS = (
    "moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name", "model_type", "lm_gen_config",
    "tts_config", "stt_config", "model_id",
)  # fmt: skip


def make_golden(folder: Path) -> Arrays:
    """Run Mimi and the transformer of the checkpoint in `folder` over its `input.wav`."""
    config = json.loads((folder / "config.json").read_text())
    mimi_config = json.loads((folder / "mimi_config.json").read_text())
    mimi = get_mimi(folder / "mimi.safetensors", mimi_config, num_codebooks=config["n_q"])
    lm_config = {key: value for key, value in config.items() if key not in NOT_LM_KEYS}
    lm = get_moshi_lm(folder / "model.safetensors", lm_config, dtype=torch.float32).eval()

    pcm = read_wav(folder / "input.wav")
    arrays: Arrays = {"pcm": pcm.numpy()}
    arrays |= encode_batch(mimi, pcm)
    arrays |= encode_stream(mimi, pcm, "mimi_{}_stream")
    arrays |= encode_stream(mimi, with_silence(pcm, config["stt_config"]), "stream_{}")

    codes = torch.from_numpy(arrays["stream_codes"])
    arrays |= transcribe(lm, codes, "direct_")
    arrays |= transcribe(lm, torch.cat([codes[:, :1], codes], dim=1), "primed_")
    return arrays


def read_wav(path: Path) -> Tensor:
    """A 24 kHz mono file of 16-bit samples: float32 (n_samples,) in [-1, 1)."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2), file.getparams()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return torch.from_numpy(samples.astype(np.float32) / 32_768)


def with_silence(pcm: Tensor, stt_config: dict[str, float]) -> Tensor:
    """The audio with the silence prefix that the model expects, and silence for the text delay at the end."""
    n_prefix = math.ceil(stt_config["audio_silence_prefix_seconds"] * FRAME_RATE_HZ) * FRAME_SAMPLES
    n_suffix = math.ceil(stt_config["audio_delay_seconds"] * FRAME_RATE_HZ) * FRAME_SAMPLES
    return torch.cat([torch.zeros(n_prefix), whole_frames(pcm), torch.zeros(n_suffix)])


def whole_frames(pcm: Tensor) -> Tensor:
    return torch.nn.functional.pad(pcm, (0, -len(pcm) % FRAME_SAMPLES))


def encode_batch(mimi: MimiModel, pcm: Tensor) -> Arrays:
    """Every stage of the encoder on the whole clip in one call."""
    seanet = mimi.encoder(pad_for_conv1d(pcm[None, None], FRAME_SAMPLES, FRAME_SAMPLES))
    (transformed,) = mimi.encoder_transformer(seanet)
    latent = mimi.downsample(transformed)
    codes, margins = quantize(mimi, latent)
    assert torch.equal(codes, mimi.encode(pcm[None, None])[0])
    return {
        "mimi_seanet_batch": seanet[0].numpy(),
        "mimi_transformer_batch": transformed[0].numpy(),
        "mimi_latent_batch": latent[0].numpy(),
        "mimi_codes_batch": codes.numpy(),
        "mimi_margin_batch": margins.numpy(),
    }


def encode_stream(mimi: MimiModel, pcm: Tensor, name: str) -> Arrays:
    """The encoder with one frame per call, as in a stream. name: of the arrays, with {} for the kind."""
    with mimi.streaming(1):
        frames = whole_frames(pcm).split(FRAME_SAMPLES)
        latent = torch.cat([mimi.encode_to_latent(frame[None, None], quantize=False) for frame in frames], dim=-1)
    codes, margins = quantize(mimi, latent)
    arrays = {"latent": latent[0], "codes": codes, "margin": margins}
    return {name.format(kind): array.numpy() for kind, array in arrays.items()}


def quantize(mimi: MimiModel, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of a latent (1, d, T), and the margin of each.

    Returns codes int64 (K, T), margins float64 (K, T): the distance of the second best centroid minus that of the best.
    """
    codes = mimi.quantizer.encode(latent)[0]
    margins = chain(rvq_margins(mimi.quantizer.rvq_first, latent), rvq_margins(mimi.quantizer.rvq_rest, latent))
    return codes, torch.stack(list(margins)[: len(codes)])


def rvq_margins(rvq: torch.nn.Module, latent: Tensor) -> Iterator[Tensor]:
    """The margins of one residual quantizer, float64 (T,) for each level."""
    residual = rvq.input_proj(latent)[0].T
    for layer in rvq.vq.layers:
        centroids = layer._codebook.embedding
        distances = torch.cdist(residual.double(), centroids.double())
        best, second = distances.topk(2, largest=False).values.T
        yield second - best
        residual = residual - centroids[layer._codebook.encode(residual)]


def transcribe(lm: LMModel, codes: Tensor, prefix: str) -> Arrays:
    """Step the transformer through codes (K, n_steps), greedily. prefix: of the arrays' names."""
    tokens: list[Tensor] = []
    logits: list[Tensor] = []
    hidden: list[Tensor] = []
    generator = LMGen(
        lm,
        temp=0.0,
        temp_text=0.0,
        on_text_hook=lambda token: tokens.append(token[0]),
        on_text_logits_hook=lambda step_logits: logits.append(step_logits[0, 0, 0]),
    )
    with generator.streaming(1), embedded_tokens(lm) as columns:
        for code in codes.T:
            _, step_hidden = generator._step(code[None, :, None])
            hidden.append(step_hidden[0, 0])
    arrays = {
        "inputs": torch.stack([torch.stack(column) for column in columns], dim=1),
        "text_logits": torch.stack(logits),
        "text_tokens": torch.stack(tokens),
        "hidden": torch.stack(hidden),
    }
    best, second = arrays["text_logits"].double().topk(2).values.T
    arrays["logit_margin"] = best - second
    if lm.extra_heads:
        heads = [head(arrays["hidden"]).softmax(dim=-1) for head in lm.extra_heads]
        arrays["extra_heads"] = torch.stack(heads, dim=1)
    return {prefix + key: array.numpy() for key, array in arrays.items()}


@contextmanager
def embedded_tokens(lm: LMModel) -> Iterator[list[list[Tensor]]]:
    """Record the tokens that each step embeds: one list for the text, then one for each codebook."""
    embeddings = (lm.text_emb, *lm.emb)
    columns: list[list[Tensor]] = [[] for _ in embeddings]

    def recorder(column: list[Tensor]) -> Callable[[torch.nn.Module, tuple[Tensor]], None]:
        return lambda module, args: column.append(args[0][0, 0])

    hooks = [
        embedding.register_forward_pre_hook(recorder(column))
        for embedding, column in zip(embeddings, columns, strict=True)
    ]
    yield columns
    for hook in hooks:
        hook.remove()


def differences(made: Arrays, kept: Arrays) -> list[str]:
    """Describe how `made` differs from `kept`: integers must be equal, other values within TOLERANCE."""
    found = [f"{name} is missing on one side" for name in sorted(made.keys() ^ kept.keys())]
    for name in sorted(made.keys() & kept.keys()):
        a, b = made[name], kept[name]
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            found.append(f"{name} is {a.dtype} {a.shape}, the file has {b.dtype} {b.shape}")
        elif not np.allclose(a, b, rtol=0, atol=0 if a.dtype.kind == "i" else TOLERANCE):
            found.append(f"{name} differs by up to {np.abs(a - b).max()}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Recompute a golden folder's expected.npz.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with the existing file and write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the order of float32 sums depends on the number of threads
    with torch.no_grad():
        made = make_golden(options.folder)
    path = options.folder / "expected.npz"
    if not options.check:
        np.savez_compressed(path, allow_pickle=False, **made)
        return
    found = differences(made, dict(np.load(path)))
    if found:
        sys.exit("\n".join(found))
    print(f"All {len(made)} arrays match.")


if __name__ == "__main__":
    main()
