"""A test set without speech: noises, hum, a keyboard and music, all generated.

    python -m train.noise_tests DEST

Writes DEST/no_speech.zip. Needs ffmpeg with libopus.
"""

import argparse
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .pack_tests import opus
from .shards import SAMPLE_RATE, Utterance

SECONDS = 20
_N = SECONDS * SAMPLE_RATE
_TIME = np.arange(_N) / SAMPLE_RATE

Wave = NDArray[np.float64]
Rng = np.random.Generator


def coloured(slope: float) -> Callable[[Rng], Wave]:
    """Return noise whose power falls with the frequency to the power of `slope`."""

    def make(rng: Rng) -> Wave:
        freq = np.fft.rfftfreq(_N, 1 / SAMPLE_RATE)
        return np.fft.irfft(np.fft.rfft(rng.standard_normal(_N)) * (freq + 30) ** (-slope / 2), _N)

    return make


def hum(rng: Rng) -> Wave:
    """Return mains hum with its harmonics, and a little noise."""
    tones = sum(np.sin(2 * np.pi * 50 * k * _TIME + rng.uniform(0, 6)) / k for k in (1, 2, 3, 4, 6, 8))
    return np.asarray(tones) + 0.05 * rng.standard_normal(_N)


def fan(rng: Rng) -> Wave:
    """Return pink noise whose level follows the blades."""
    return coloured(1.0)(rng) * (1 + 0.4 * np.sin(2 * np.pi * 23 * _TIME)) * (1 + 0.1 * np.sin(2 * np.pi * 0.3 * _TIME))


def _strokes(rng: Rng, rate: float, length_s: float) -> Wave:
    """Return short bursts of noise, `rate` per second."""
    out, n = np.zeros(_N), int(length_s * SAMPLE_RATE)
    decay = np.exp(-np.arange(n) / n * 6)
    for begin in rng.integers(0, _N - n, int(rate * SECONDS)):
        out[begin : begin + n] += rng.standard_normal(n) * decay * rng.uniform(0.3, 1)
    return out


def keyboard(rng: Rng) -> Wave:
    """Return typing, six keys per second."""
    return _strokes(rng, 6, 0.03) + 0.5 * _strokes(rng, 6, 0.008) + 0.003 * rng.standard_normal(_N)


def rain(rng: Rng) -> Wave:
    """Return drops on a roof."""
    return _strokes(rng, 400, 0.01) + 0.1 * coloured(0.7)(rng)


def _notes(rng: Rng, length_s: float, voices: int, harmonics: tuple[int, ...]) -> Wave:
    """Return random notes of a pentatonic scale, each of which decays."""
    out, n = np.zeros(_N), int(length_s * SAMPLE_RATE)
    time = np.arange(n) / SAMPLE_RATE
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16])
    for begin in range(0, _N - n + 1, n):
        for _ in range(voices):
            pitch = 130.8 * 2 ** (rng.choice(scale) / 12)
            tone = sum(np.sin(2 * np.pi * pitch * h * time) / h**1.5 for h in harmonics)
            out[begin : begin + n] += tone * np.exp(-3 * time) * np.minimum(1, time / 0.01)
    return out


def melody(rng: Rng) -> Wave:
    """Return one voice, four notes per second."""
    return _notes(rng, 0.25, 1, (1, 2, 3, 4))


def chords(rng: Rng) -> Wave:
    """Return three voices and a beat."""
    return _notes(rng, 0.8, 3, (1, 2, 3, 5)) + 0.3 * _strokes(rng, 2, 0.08)


# name: how it is made, and its level in dB below full scale
SOUNDS: dict[str, tuple[Callable[[Rng], Wave], float]] = {
    "silence": (coloured(0.0), -75),
    "white noise": (coloured(0.0), -30),
    "pink noise": (coloured(1.0), -25),
    "rumble": (coloured(2.0), -20),
    "hum": (hum, -25),
    "fan": (fan, -28),
    "keyboard": (keyboard, -28),
    "rain": (rain, -25),
    "melody": (melody, -22),
    "chords": (chords, -20),
}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    labels = {}
    with zipfile.ZipFile(a.dest / "no_speech.zip", "w") as target:
        for i, (name, (make, level)) in enumerate(SOUNDS.items()):
            wave = make(np.random.default_rng(i))
            wave *= 10 ** (level / 20) / np.sqrt(np.mean(np.square(wave)))
            pcm = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
            file = f"{i:03d}.opus"
            labels[file] = {"text": "", "voice": f"none:{name}", "starts": [], "seconds": SECONDS}
            target.writestr(zipfile.ZipInfo(file), opus(Utterance(pcm, "", (), "none")))
        target.writestr(zipfile.ZipInfo("labels.json"), json.dumps(labels, indent=1))


if __name__ == "__main__":
    main()
