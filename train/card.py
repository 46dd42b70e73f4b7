"""The model card that stands beside the weights."""

from collections.abc import Mapping
from typing import Any

from .config import FRAME, SAMPLE_RATE, Config

_SETS = {
    "unseen_sentences": "new sentences by voices it was trained on",
    "unseen_voices": "synthetic voices it never heard",
    "human_digits": "strings of digits, read by a person",
    "human_sentences": "sentences of people: prose, commands, telephone prompts",
}

_CARD = """# Tympan demo, English

Streaming speech-to-text for trying Tympan's page without a download. Kyutai's architecture in miniature: a Mimi encoder
of {mimi} in 16 bits, {codebooks} codebooks of {codebook_size}, and a delayed-streams transformer of {lm} in 4 bits, its
tables in 8, text {delay_s:.2f} s behind the voice. It writes English in small letters, without punctuation, numbers as
words.

## What it was trained on

Synthetic speech alone: Kokoro-82M (Apache-2.0), hibari (Apache-2.0), Piper "joe" (CC0 recordings), flite (BSD-like) and
espeak-ng (GPL-3.0; its output is free of it), reading an everyday grammar, WordNet's examples and glosses, and the
Jargon File; with random rooms, noise, filters, speeds and gains. No recording of a person. The recipe, with sources,
versions and hours, is `train/` of the repository.

## How well it does

Words wrong, greedy and streaming, with weights as trained (the page's figures for the quantized weights are in
`bench/results/wer.json`):

| test set | words wrong | words | utterances |
| --- | --- | --- | --- |
{rows}

Word starts are within 0.16 s of the synthesizers' own in {near:.0%} of words.

Good for: trying the page, tests, clear English close to the microphone. Not good for: people in general. It gets most
words of many human sentences wrong, knows one language, and writes something even when it understood nothing. Do not
rely on what it writes.

## Licence

Apache-2.0.
"""


def card(config: Config, metrics: Mapping[str, Mapping[str, Any]], n_mimi: int, n_lm: int) -> str:
    """metrics: what `evaluate` reports. n_mimi, n_lm: parameters."""
    rows = [
        f"| {title} | {metrics[name]['wer']:.1%} | {metrics[name]['words']} | {metrics[name]['n']} |"
        for name, title in _SETS.items()
    ]
    return _CARD.format(
        mimi=f"{n_mimi / 1e6:.1f} M parameters",
        lm=f"{n_lm / 1e6:.1f} M",
        codebooks=config.codebooks,
        codebook_size=config.codebook_size,
        delay_s=config.delay * FRAME / SAMPLE_RATE,
        rows="\n".join(rows),
        near=metrics["unseen_sentences"]["starts_within_160ms"],
    )
