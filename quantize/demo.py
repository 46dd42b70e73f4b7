"""Replaces the demo model of the site and its entry in the catalogue.

    python -m tympan.quantize.demo CHECKPOINT

CHECKPOINT is the output of `train/`: an official checkpoint directory that also contains a model card, README.md, and
`metrics.json` with {"wer": ...} for each test set. The error rates in the model's notes are read from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from tympan.errors import TympanError
from tympan.quantize.catalogue import write_catalogue
from tympan.quantize.convert import quantize
from tympan.weights.info import ModelInfo

MODELS = Path(__file__).resolve().parents[1] / "static" / "models"

_TEST_SETS = {
    "unseen_sentences": "new sentences by voices it was trained on",
    "unseen_voices": "other synthetic voices",
    "human_digits": "digits read by a person",
    "human_sentences": "sentences of people",
    "people_accents": "learners of English, half of them children",
    "people_reading": "people reading books",
    "people_commonvoice": "people of many accents at their own microphones",
}


def make_demo(checkpoint: Path, models: Path) -> None:
    """Quantize the demo checkpoint to `models`/demo and write `models`/catalogue.json. Raises TympanError."""
    metrics = json.loads((checkpoint / "metrics.json").read_text("utf-8"))
    rates = "; ".join(
        f"{voices} {metrics[test_set]['wer']:.0%}" for test_set, voices in _TEST_SETS.items() if test_set in metrics
    )
    info = ModelInfo(
        title="Tympan demo, English",
        languages=("en",),
        licence="Apache-2.0",
        source="trained for Tympan on recordings of people (Common Voice, LibriSpeech, speechocean762, VCTK, LJ "
        "Speech, Cathy, CMU Arctic, AN4, VoxForge, African Storybook, Picovoice, Speech Commands, Free Spoken Digit "
        "Dataset, two games) and on synthetic speech (Kokoro, hibari, flite, espeak-ng)",
        notes="A small model to try the page with, trained on 31 hours of people. It often misunderstands them. "
        f"Words it gets wrong, before quantization: {rates}.",
    )
    # 8-bit tables take 1 MB more, but quantization then adds 1 point of word error on digit strings instead of 3.
    quantize(checkpoint, models / "demo", info=info, embeddings="q8")
    shutil.copyfile(checkpoint / "README.md", models / "demo" / "README.md")
    write_catalogue(models)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tympan.quantize.demo", description="Replace the site's demo model."
    )
    parser.add_argument("checkpoint", type=Path, help="an official checkpoint directory with a metrics.json")
    try:
        make_demo(parser.parse_args().checkpoint, MODELS)
    except (TympanError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
