"""The model card."""

from collections.abc import Mapping
from typing import Any

from .config import FRAME, SAMPLE_RATE, Config

_SETS = {
    "unseen_sentences": "new sentences by voices it was trained on",
    "unseen_voices": "synthetic voices that were not in the training data",
    "human_digits": "strings of digits, read by a person",
    "human_sentences": "sentences of people: prose, commands, telephone prompts",
    "people_accents": "Mandarin speakers, half of them children (speechocean762, official test half)",
    "people_reading": "people reading books (LibriSpeech test-other, 10 speakers)",
    "people_commonvoice": "people of many accents at their own microphones (Common Voice, 40 speakers)",
}

_PEOPLE_HOURS, _PEOPLE_SHARE = 31.2, 0.68

_CARD = """# Tympan demo, English

Streaming speech-to-text for trying Tympan's page without a download. Kyutai's architecture in miniature: a Mimi encoder
of {mimi}, its transformer in 8 bits and the rest in 16, {codebooks} codebooks of {codebook_size}, and a delayed-streams
transformer of {lm} in 4 bits, its tables in 8, text delay {delay_s:.2f} s. It writes English in lower case, without
punctuation, numbers as words.

## What it was trained on

Recordings of people, {people_hours:.1f} hours after silence was cut away, in {people_share:.0%} of the clips of the
last training run:

| source | hours | speakers | licence |
| --- | --- | --- | --- |
| Mozilla Common Voice, English, with its own transcripts | 6.8 | 501 known, 3,700 clips unknown | CC0 |
| Mozilla Common Voice, English, transcribed by Whisper | 5.0 | 426 and unknown | CC0 |
| LibriSpeech (train, dev-clean, and demo pages of papers), 1.2 h of it transcribed by Whisper | 9.5 | 288 | CC BY 4.0 |
| speechocean762, official training half | 2.4 | 125 | free for commercial and other use; Apache-2.0 (authors' card) |
| Flight of the Amazon Queen, a game, transcribed by Whisper | 1.4 | 73 roles | its own, free by Debian's guidelines |
| Beneath a Steel Sky, likewise | 1.4 | 7 roles | its own, free by Debian's guidelines |
| Drascula, likewise | 0.6 | 12 roles | its own, free by Debian's guidelines |
| Picovoice's speech-to-intent benchmark, transcribed by Whisper | 0.6 | unknown | Apache-2.0 |
| GCompris' voices; Warzone 2100, both transcribed by Whisper | 0.3 | 15 roles | GPL-3.0; GPL-2.0 or later |
| African Storybook | 1.0 | 29 stories | CC BY |
| LJ Speech, and a second reader of its texts | 0.6 | 2 | public domain; Apache-2.0 |
| VCTK | 0.5 | 79 | CC BY 4.0 |
| Speech Commands, single words; Free Spoken Digit Dataset | 0.5 | 464 | CC BY 4.0; CC BY-SA 4.0 |
| CMU Arctic, AN4 | 0.3 | 40 | BSD-like |
| VoxForge | 0.04 | 2 | GPL-3.0 |
| rhasspy's Cathy | 0.3 | 1 | CC0 |

Transcripts by whisper-base or whisper-tiny.en are kept where the model is sure and the text can be aligned with the
sound. The encoder of whisper-base (MIT) is also a teacher: Mimi's encoder learns to predict its features.

Synthetic speech in the other clips: Kokoro-82M (Apache-2.0), hibari (Apache-2.0), flite (BSD-like) and espeak-ng
(GPL-3.0; its output is free of it), reading an everyday grammar, sentences of Common Voice (CC0), 30 books of Project
Gutenberg (public domain), WordNet's examples and glosses, and the Jargon File. All with random rooms, noise, music,
filters, speeds and gains. The recipe, with sources, versions and hours, is `train/` of the repository.

## How well it does

Words wrong, greedy and streaming, with weights as trained (the page's figures for the quantized weights are in
`bench/results/wer.json`):

| test set | words wrong | words | utterances |
| --- | --- | --- | --- |
{rows}

Word starts are within 0.16 s of the synthesizers' own in {near:.0%} of words.

Good for: trying the page, tests, digits, clear English close to the microphone. Not good for: people in general. It
gets a quarter to a half of the words of a person's sentences wrong, knows only English, and writes words even when it
understood nothing. Do not rely on what it writes.

## Licence

Apache-2.0.
"""


def card(config: Config, metrics: Mapping[str, Mapping[str, Any]], n_mimi: int, n_lm: int) -> str:
    """Return the text of the card. metrics: the output of `evaluate`. n_mimi, n_lm: numbers of parameters."""
    rows = [
        f"| {title} | {metrics[name]['wer']:.1%} | {metrics[name]['words']} | {metrics[name]['n']} |"
        for name, title in _SETS.items()
    ]
    return _CARD.format(
        mimi=f"{n_mimi / 1e6:.1f} M parameters",
        lm=f"{n_lm / 1e6:.1f} M",
        codebooks=config.codebooks,
        codebook_size=config.codebook_size,
        people_hours=_PEOPLE_HOURS,
        people_share=_PEOPLE_SHARE,
        delay_s=config.delay * FRAME / SAMPLE_RATE,
        rows="\n".join(rows),
        near=metrics["unseen_sentences"]["starts_within_160ms"],
    )
