"""Test sets of human recordings, from packages that contain them. None of them is used for training.

    python -m train.human_tests POCKETSPHINX ASTERISK WHISPER_WAV DEST

POCKETSPHINX is the test data folder of Debian's pocketsphinx-testdata, ASTERISK the sound folder of
asterisk-core-sounds-en-wav (with `core-sounds-en.txt` beside or in it), WHISPER_WAV whisper.cpp's jfk.wav. Writes
`human_sentences.shard` and `human_digits.shard`. Human recordings have no word timings: all starts are 0.
"""

import argparse
import gzip
import random
import re
import wave
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from . import shards
from .grammar import ONES, TENS
from .text import label

_JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
_SPOKEN = {str(i): w for i, w in enumerate(ONES)} | {str(10 * i): w for i, w in enumerate(TENS) if i > 1}
_OPUS_BITRATE = 32_000


def load(path: Path, rate: int = 16_000) -> np.ndarray:
    """Read a .wav, or a .raw of int16 at `rate`, as float at 24 kHz."""
    if path.suffix == ".raw":
        pcm = np.fromfile(path, "<i2")
    else:
        with wave.open(str(path)) as f:
            rate, pcm = f.getframerate(), np.frombuffer(f.readframes(f.getnframes()), "<i2")
    divisor = np.gcd(rate, shards.SAMPLE_RATE)
    return resample_poly(pcm.astype(np.float64), shards.SAMPLE_RATE // divisor, rate // divisor)


def utterance(pcm: np.ndarray, text: str, voice: str) -> shards.Utterance:
    pcm = np.clip(pcm, -32768, 32767).astype(np.int16)
    return shards.Utterance(pcm, text, (0.0,) * len(text.split()), voice)


def pocketsphinx(folder: Path) -> list[shards.Utterance]:
    """Return the recordings of card names, read prose and robot commands."""
    out = []
    for directory, listing in (("cards", "cards.transcription"), ("librivox", "transcription")):
        for line in (folder / directory / listing).read_text().splitlines():
            ((words, name),) = re.findall(r"^<s> (.*?)\s*</s> \((.*)\)$", line.strip())
            words = words.replace("a more a amiable", "a more amiable")
            out.append(utterance(load(folder / directory / f"{name}.wav"), words, "human:pocketsphinx"))
    for name, words in (("goforward", "go forward ten meters"), ("something", "go somewhere and do something")):
        out.append(utterance(load(folder / f"{name}.raw"), words, "human:pocketsphinx"))
    return out


def asterisk_prompts(folder: Path, transcripts: Path, count: int, rng: random.Random) -> list[shards.Utterance]:
    """Return whole spoken prompts of 1 to 9 seconds."""
    raw = gzip.decompress(transcripts.read_bytes()) if transcripts.suffix == ".gz" else transcripts.read_bytes()
    out = []
    lines = raw.decode("utf-8", "replace").splitlines()
    rng.shuffle(lines)
    for line in lines:
        name, _, spoken = line.partition(":")
        path, words = folder / f"{name.strip()}.wav", label(spoken.strip())
        if "/" in name or words is None or not 4 <= len(words.split()) <= 20 or not path.exists():
            continue
        pcm = load(path)
        if 1 < len(pcm) / shards.SAMPLE_RATE < 9:
            out.append(utterance(pcm, words, "human:asterisk"))
        if len(out) == count:
            break
    return out


def asterisk_digits(folder: Path, count: int, rng: random.Random) -> list[shards.Utterance]:
    """Join 3 to 7 recorded digits with short pauses, as an automated telephone service does."""
    out = []
    for _ in range(count):
        names = [str(rng.randrange(10)) for _ in range(rng.randint(3, 7))]
        parts = []
        for name in names:
            parts += [
                load(folder / "digits" / f"{name}.wav"),
                np.zeros(int(rng.uniform(0.02, 0.2) * shards.SAMPLE_RATE)),
            ]
        out.append(utterance(np.concatenate(parts), " ".join(_SPOKEN[n] for n in names), "human:asterisk"))
    return out


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("pocketsphinx", "asterisk", "transcripts", "jfk", "dest"):
        cli.add_argument(name, type=Path)
    a = cli.parse_args()
    rng = random.Random(8)
    sentences = [*pocketsphinx(a.pocketsphinx), utterance(load(a.jfk), _JFK, "human:jfk")]
    sentences += asterisk_prompts(a.asterisk, a.transcripts, 40, rng)
    shards.write(a.dest / "human_sentences.shard", sentences, _OPUS_BITRATE)
    shards.write(a.dest / "human_digits.shard", asterisk_digits(a.asterisk, 60, rng), _OPUS_BITRATE)


if __name__ == "__main__":
    main()
