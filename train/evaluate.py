"""Word error of a checkpoint on the test sets, greedy and streaming, as the page decodes.

python -m train.evaluate CHECKPOINT ASSETS TESTS [--json FILE]
"""

import argparse
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from . import shards
from .checkpoint import load_models
from .config import FRAME, SAMPLE_RATE
from .data import clips
from .lm import Lm
from .mimi import Mimi
from .normalise import normalise
from .ogg import read_ogg
from .text import LABEL_CHARS
from .tokens import Pieces


def edits(a: list, b: list) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def error_rate(pairs: list[tuple[str, str]], words: bool = True) -> float:
    """Divide the edits of (hypothesis, reference) pairs by the reference length, in words or in characters."""
    split = str.split if words else list
    return sum(edits(split(h), split(r)) for h, r in pairs) / max(1, sum(len(split(r)) for _, r in pairs))


def greedy_ctc(log_probs: torch.Tensor) -> list[str]:
    out = []
    for row in log_probs.argmax(-1).tolist():
        kept = [c for c, before in zip(row, [0, *row], strict=False) if c and c != before]
        out.append(" ".join("".join(LABEL_CHARS[c - 1] for c in kept).split()))
    return out


@torch.no_grad()
def evaluate(mimi: Mimi, lm: Lm | None, pieces: Pieces, tests: dict, device: torch.device, limit: int = 10**6) -> dict:
    """{set: {"wer", "cer", "n", "words", "starts_within_160ms", "examples"}}; without `lm`, CTC's instead of the
    LM's."""
    was_training = mimi.training
    mimi.eval()
    report = {}
    for name, utterances in tests.items():
        utterances = sorted(utterances[:: -(-len(utterances) // limit)], key=lambda u: len(u.pcm))
        pairs, lags = [], []
        for i in range(0, len(utterances), 48):
            group = utterances[i : i + 48]
            wave, _ = clips(group)
            started = lm is not None or bool(mimi.books[0]._initialized)
            encoded = mimi.quantize(mimi.latent(wave.to(device)), "eval" if started else "off")
            if lm is None:
                texts = greedy_ctc(mimi.heads(encoded)[0])
            else:
                lm.eval()
                delay = lm.c.delay * FRAME / SAMPLE_RATE
                decoded = [pieces.decode(t) for t in lm.transcribe(lm.look_up(encoded.codes)).tolist()]
                texts = [t for t, _ in decoded]
                for u, (text, starts) in zip(group, decoded, strict=True):
                    if text == u.label and any(u.starts):
                        lags += [s - delay - 0.3 - true for s, true in zip(starts, u.starts, strict=True)]
            pairs += [(t, u.label) for t, u in zip(texts, group, strict=True)]
        report[name] = {
            "wer": round(error_rate(pairs), 4),
            "cer": round(error_rate(pairs, words=False), 4),
            "n": len(pairs),
            "words": sum(len(r.split()) for _, r in pairs),
            "starts_within_160ms": round(float(np.mean(np.abs(lags) <= 0.16)), 4) if lags else None,
            "examples": pairs[:: max(1, len(pairs) // 12)],
        }
    mimi.train(was_training)
    if lm is not None:
        lm.train()
    return report


def load_tests(folder: Path) -> dict[str, list[shards.Utterance]]:
    """Read the sets of `folder`, packed like bench/speech."""
    return {p.stem: list(read_zip(p)) for p in sorted(folder.glob("*.zip"))}


def read_zip(path: Path) -> Iterator[shards.Utterance]:
    with zipfile.ZipFile(path) as archive:
        for name, what in json.loads(archive.read("labels.json")).items():
            text = normalise(what["text"]) or ""
            starts = tuple(what["starts"]) if len(what["starts"]) == len(text.split()) else (0.0,) * len(text.split())
            ogg = read_ogg(archive.read(name))
            pcm = shards.Packed(ogg.packets, ogg.skip, ogg.samples, text, starts, what["voice"]).pcm()
            yield shards.Utterance(pcm, text, starts, what["voice"])


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("checkpoint", type=Path)
    cli.add_argument("assets", type=Path)
    cli.add_argument("tests", type=Path)
    cli.add_argument("--json", type=Path)
    a = cli.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mimi, lm, _ = load_models(a.checkpoint, device)
    report = evaluate(mimi, lm, Pieces(a.assets / "tokenizer.model"), load_tests(a.tests), device)
    for name, r in report.items():
        print(f"{name:20} wer {r['wer']:.3f} cer {r['cer']:.3f} starts {r['starts_within_160ms']} ({r['words']} words)")
    if a.json:
        a.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
