"""Makes the files of the stand-in host: the checkpoint, and what the official implementation computes with it.

    api/models/REPOSITORY/tree/REVISION        the listing
    REPOSITORY/resolve/REVISION/               config.json, transformer, Mimi, tokenizer
    reference/                                 speech.wav, mimi_tokens.json, text_tokens.json, transcript.txt
    reference.json                             their names and hashes, as `tympan.cli.reference` takes them with URLs

The package's docstring says how to run it.
"""

# mypy: disable-error-code="attr-defined"
# (sentencepiece has no types for its messages)

from __future__ import annotations

import argparse
import hashlib
import json
import wave
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from zipfile import ZipFile

import numpy as np
import sphn
import torch
from moshi.models.loaders import get_mimi, get_moshi_lm
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from bench import checkpoint as mimi_checkpoint
from bench.stand_in.checkpoint import (
    LM_NAME,
    MIMI_NAME,
    TOKENIZER_NAME,
    config_json,
    files_path,
    hub,
    write_listing,
    write_lm,
)
from tests.golden.make_golden import NOT_LM_KEYS, encode_stream, read_wav, transcribe, with_silence
from tympan.arrays import Float32
from tympan.checkpoint.official import CONFIG_NAME
from tympan.cli.decode import resample
from tympan.cli.reference import ROLES
from tympan.cli.site import ROOT
from tympan.config import FIRST_TEXT_ID, SAMPLE_RATE_HZ

SPEECH = ROOT / "bench" / "speech" / "people_reading.zip"
SPEECH_S = 32.0
SEED = 3
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]  # two make a piece
REFERENCE_NAMES = ("speech.wav", "mimi_tokens.json", "text_tokens.json", "transcript.txt")  # in the order of ROLES


def make(folder: Path) -> None:
    """Write everything, and print how much time it took and how varied the tokens are."""
    started_s = perf_counter()
    files, reference = folder / files_path(), folder / "reference"
    for path in (files, reference):
        path.mkdir(parents=True)
    config = config_json()
    (files / CONFIG_NAME).write_text(json.dumps(config, indent=2), "utf-8")
    write_lm(files / LM_NAME, config)
    write_mimi(files / MIMI_NAME)
    (files / TOKENIZER_NAME).write_bytes(random_tokenizer(config["text_card"]))
    described = {path.name: (path.stat().st_size, _sha256(path)) for path in sorted(files.iterdir())}
    write_listing(folder / "api" / "models" / hub()["repository"] / "tree" / hub()["revision"], described)
    print(f"checkpoint: {sum(size for size, _ in described.values()):,} bytes, {perf_counter() - started_s:.0f} s")

    write_wav(reference / "speech.wav", speech(SPEECH_S))
    started_s = perf_counter()
    codes, tokens, text = official_results(files, config, reference / "speech.wav")
    for name, values in (("mimi_tokens.json", codes), ("text_tokens.json", tokens)):
        (reference / name).write_text(json.dumps({"num_frames": len(codes), "tokens": values}), "utf-8")
    (reference / "transcript.txt").write_text(text, "utf-8")
    versions = f"moshi {version('moshi')} with torch {version('torch')}"
    source = f"{versions} in float32, on a random checkpoint of the released size"
    paths = {role: reference / name for role, name in zip(ROLES, REFERENCE_NAMES, strict=True)}
    pinned = {role: {"url": f"reference/{path.name}", "sha256": _sha256(path)} for role, path in paths.items()}
    (folder / "reference.json").write_text(json.dumps({"source": source, **pinned}, indent=2), "utf-8")
    padding = np.mean(np.array(tokens) == config["existing_text_padding_id"])
    print(
        f"official results: {len(codes)} frames, {len({*tokens})} different tokens, {padding:.0%} padding, "
        f"{len(text.split())} words, {perf_counter() - started_s:.0f} s"
    )


def write_mimi(path: Path) -> None:
    """Write all of Mimi: the encoder of `bench.checkpoint`, and a random decoder, which the official loader needs."""
    torch.manual_seed(SEED)
    tensors = {_published(name): tensor for name, tensor in get_mimi(None).state_dict().items()}
    with TemporaryDirectory() as scratch:
        mimi_checkpoint.write(Path(scratch) / "encoder.safetensors")
        encoder = load_file(Path(scratch) / "encoder.safetensors")
    assert encoder.keys() < tensors.keys()
    tensors |= encoder
    tensors |= {name: torch.ones_like(tensor) for name, tensor in tensors.items() if name.endswith("_initialized")}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def random_tokenizer(n: int) -> bytes:
    """A SentencePiece model of n pieces: the special ones, then made-up syllables. Every other piece starts a word."""
    model = sentencepiece_model_pb2.ModelProto()
    kinds = model.SentencePiece
    special = dict(enumerate([("<unk>", kinds.UNKNOWN), *((name, kinds.CONTROL) for name in ("<s>", "</s>", "<pad>"))]))
    for i in range(n):
        piece, kind = special.get(i, (_syllables(i), kinds.NORMAL))
        model.pieces.add(piece=piece, score=-float(i), type=kind)
    model.trainer_spec.vocab_size = n
    return bytes(model.SerializeToString())


def speech(seconds: float) -> Float32:
    """The first sentences of a test set, one after the other: float32 (n_samples,) at 24 kHz."""
    pieces: list[Float32] = []
    n_samples = int(seconds * SAMPLE_RATE_HZ)
    with ZipFile(SPEECH) as archive, TemporaryDirectory() as scratch:
        for name in json.loads(archive.read("labels.json")):
            channels, rate_hz = sphn.read_opus(archive.extract(name, scratch))
            pieces.append(resample(channels[0], rate_hz, SAMPLE_RATE_HZ))
            if sum(map(len, pieces)) >= n_samples:
                break
    return np.concatenate(pieces)[:n_samples]


def write_wav(path: Path, samples: Float32) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def official_results(files: Path, config: dict[str, Any], audio: Path) -> tuple[list[list[int]], list[int], str]:
    """Codes of each frame, the token of each step, and the text, as in Kyutai's script stt_from_file_pytorch.py."""
    with torch.no_grad():
        mimi = get_mimi(files / MIMI_NAME, num_codebooks=config["n_q"])
        pcm = with_silence(read_wav(audio), config["stt_config"])
        codes = torch.from_numpy(encode_stream(mimi, pcm, "{}")["codes"])
        lm_config = {key: value for key, value in config.items() if key not in NOT_LM_KEYS}
        lm = get_moshi_lm(files / LM_NAME, lm_config, dtype=torch.float32).eval()
        tokens = transcribe(lm, codes, "")["text_tokens"].tolist()
    pieces = SentencePieceProcessor(str(files / TOKENIZER_NAME))
    text = "".join(pieces.id_to_piece(token).replace("\u2581", " ") for token in tokens if token >= FIRST_TEXT_ID)
    return codes.T.tolist(), tokens, text.strip()


def _published(name: str) -> str:
    """PyTorch's name of a tensor as the published files have it."""
    return name.replace(".in_projs.0.weight", ".in_proj_weight").replace(".out_projs.0.weight", ".out_proj.weight")


def _syllables(i: int) -> str:
    return "\u2581" * (i % 2) + SYLLABLES[i // len(SYLLABLES)] + SYLLABLES[i % len(SYLLABLES)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the files of the stand-in host.")
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
