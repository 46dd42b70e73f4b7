"""Write shards of synthetic speech from several processes until a file named `stop` appears.

    python -m train.synthesize ENGINE ASSETS DEST --processes 5 [--hours H] [--bitrate 16000]

ENGINE is hibari, flite, espeak, piper, kokoro (on a GPU) or kokoro-cpu; ASSETS is the folder that README.md
describes. The run stops when DEST holds a file named `stop`, or after H hours of audio a process.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import classic_voices, shards, text, voices

SHARD_SECONDS, MAX_SECONDS = 240, 11.5


def make_engine(name: str, assets: Path) -> Any:
    """Create the engine with what it needs from `assets`."""
    data = assets / "espeak-ng-data"
    espeak_data = assets if data.exists() else None
    match name:
        case "hibari":
            return voices.Hibari(assets / "hibari.onnx")
        case "flite":
            return classic_voices.Flite()
        case "espeak":
            return classic_voices.Espeak(espeak_data)
        case "piper":
            return voices.Piper(assets / "joe.onnx", assets / "joe.onnx.json", classic_voices.Espeak(espeak_data))
        case "kokoro" | "kokoro-cpu":
            runner = voices.onnx_runner if name == "kokoro-cpu" else _graph_runner
            styles, g2p = voices.Styles(assets / "styles.npz"), voices.Hibari(assets / "hibari.onnx")
            return voices.Kokoro(runner(assets / "kokoro.onnx"), styles, g2p)
    raise ValueError(name)


def _graph_runner(model: Path) -> voices.Run:
    import torch

    from .gpu_voice import GraphRunner

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return GraphRunner(model, "cuda" if torch.cuda.is_available() else "cpu")


def work(name: str, assets: Path, dest: Path, number: int, hours: float, bitrate: int | None) -> None:
    """Run one process: write shards `NAME-NUMBER-COUNT.shard` until `dest/stop` exists."""
    os.nice(10)
    seed = 1_000 * number + sum(map(ord, name))
    engine, rng = make_engine(name, assets), np.random.default_rng(seed)
    stream = text.sentences(assets / "corpus.txt.xz", seed)
    batch: list[shards.Utterance] = []
    seconds, total, count, begin = 0.0, 0.0, 0, time.time()
    while total < hours * 3600 and not (dest / "stop").exists():
        try:
            if name.startswith("kokoro"):
                spoken = engine.speak_all(_breath(stream), rng)
            else:
                spoken = [engine.speak(*next(stream), rng)]
        except (ValueError, RuntimeError, IndexError) as error:  # one unusual word must not end the process
            print(f"{name}: {error}", flush=True)
            continue
        for utterance in spoken:
            if utterance is not None and len(utterance.pcm) < MAX_SECONDS * shards.SAMPLE_RATE:
                batch.append(utterance)
                seconds += len(utterance.pcm) / shards.SAMPLE_RATE
        if seconds >= SHARD_SECONDS:
            shards.write(dest / f"{name}-{number:02d}-{count:04d}.shard", batch, bitrate)
            batch, total, seconds, count = [], total + seconds, 0.0, count + 1
            if count in (1, 4, 16):
                print(f"{name} {number}: {total / (time.time() - begin):.1f} x real time", flush=True)


def _breath(stream: Iterator[tuple[str, str]], letters: int = 190) -> list[tuple[str, str]]:
    """Return the next few sentences, about `letters` letters in all."""
    pairs: list[tuple[str, str]] = []
    while sum(len(label) for _, label in pairs) < letters:
        pairs.append(next(stream))
    return pairs


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("engine")
    cli.add_argument("assets", type=Path)
    cli.add_argument("dest", type=Path)
    cli.add_argument("--processes", type=int, default=1)
    cli.add_argument("--first", type=int, default=0, help="number of the first process; also its seed")
    cli.add_argument("--hours", type=float, default=1e9)
    cli.add_argument("--bitrate", type=int)
    a = cli.parse_args()
    a.dest.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    numbers = range(a.first, a.first + a.processes)
    arguments = [(a.engine, a.assets, a.dest, n, a.hours, a.bitrate) for n in numbers]
    pool = [context.Process(target=work, args=x) for x in arguments]
    for process in pool:
        process.start()
    for process in pool:
        process.join()


if __name__ == "__main__":
    main()
