"""Transcribes recordings of people that have no text, with whisper-base.

    python -m train.label MODEL_BIN VOCABULARY DEST ZIP... --log-prob -0.5

MODEL_BIN and VOCABULARY are of the CTranslate2 conversion that whisper.py names. Each ZIP is packed like bench/speech.
Writes DEST/NAME.zip with the clips whose text has a mean log probability of at least `--log-prob`.
`train.align` then drops clips whose text does not fit the sound or is in a test set.
"""

import argparse
import json
import multiprocessing
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from . import shards
from .config import SAMPLE_RATE
from .ogg import read_ogg
from .whisper import Whisper, read_ctranslate2

_CLIP_S = 30
_MIN_WORDS = 2
_SPACE = 32


def byte_characters() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for. Source: openai/gpt-2, encoder.py."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def decoder(vocabulary: Path) -> Callable[[list[int]], str]:
    """Return a function from tokens to text."""
    pieces, byte_of = json.loads(vocabulary.read_text("utf-8")), byte_characters()

    def decode(tokens: list[int]) -> str:
        return bytes(byte_of.get(c, _SPACE) for t in tokens for c in pieces[t]).decode("utf-8", "replace").strip()

    return decode


def _pcm(job: tuple[Path, str]) -> np.ndarray:
    with zipfile.ZipFile(job[0]) as archive:
        ogg = read_ogg(archive.read(job[1]))
    return shards.Packed(ogg.packets, ogg.skip, ogg.samples, "", (), "").pcm()


def transcripts(model: Whisper, sounds: list[np.ndarray], batch: int) -> Iterator[tuple[int, list[int], float]]:
    """Yield (index, tokens, mean log probability) of the clips of at most 30 s of which the model found the end."""
    device = next(model.buffers()).device
    order = [i for i in range(len(sounds)) if len(sounds[i]) <= _CLIP_S * SAMPLE_RATE]
    order.sort(key=lambda i: len(sounds[i]))
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        wave = torch.zeros(len(rows), _CLIP_S * SAMPLE_RATE)
        for row, i in enumerate(rows):
            wave[row, : len(sounds[i])] = torch.from_numpy(sounds[i].astype(np.float32) / 32768)
        for i, tokens, log_prob, ended in zip(rows, *model.transcribe(wave.to(device)), strict=True):
            if ended:
                yield i, tokens, log_prob


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("model", type=Path)
    cli.add_argument("vocabulary", type=Path)
    cli.add_argument("dest", type=Path)
    cli.add_argument("zips", type=Path, nargs="+")
    cli.add_argument("--log-prob", type=float, default=-0.5)
    cli.add_argument("--batch", type=int, default=64)
    cli.add_argument("--processes", type=int, default=4)
    a = cli.parse_args()
    a.dest.mkdir(parents=True, exist_ok=True)
    tensors = {name: array for name, array in read_ctranslate2(a.model).items() if array.ndim}
    model = Whisper(tensors).to("cuda" if torch.cuda.is_available() else "cpu")
    decode = decoder(a.vocabulary)
    with multiprocessing.get_context("spawn").Pool(a.processes) as pool:
        for path in a.zips:
            with zipfile.ZipFile(path) as source, zipfile.ZipFile(a.dest / path.name, "w") as target:
                labels = json.loads(source.read("labels.json"))
                names, kept = list(labels), {}
                sounds = pool.map(_pcm, [(path, name) for name in names], chunksize=8)
                for i, tokens, log_prob in transcripts(model, sounds, a.batch):
                    text = decode(tokens)
                    if log_prob >= a.log_prob and len(text.split()) >= _MIN_WORDS:
                        kept[names[i]] = {**labels[names[i]], "text": text}
                        target.writestr(zipfile.ZipInfo(names[i]), source.read(names[i]))
                target.writestr(zipfile.ZipInfo("labels.json"), json.dumps(kept))
            print(f"{path.stem}: {len(kept)} of {len(names)} clips kept", flush=True)


if __name__ == "__main__":
    main()
