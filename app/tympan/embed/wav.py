"""Decodes WAV files where there is no page that could decode: in notebooks and in CPython."""

from __future__ import annotations

import wave
from importlib.util import find_spec
from io import BytesIO

import numpy as np

from tympan.arrays import Float32
from tympan.config import SAMPLE_RATE_HZ
from tympan.errors import BadAudio
from tympan.protocol import REASONS, SHORTEST_AUDIO_S
from tympan.resample import Resampler


def has_page() -> bool:
    """Whether PyScript runs this code for a page, which decodes everything that the browser can."""
    return find_spec("polyscript") is not None


def decode_wav(content: bytes, name: str = "Recording") -> Float32:
    """Decode a WAV file with integer samples of 8 to 32 bits at any rate. Channels are averaged.

    name: for the message of the error. Returns float32 (n_samples,) in [-1, 1] at 24 kHz. Raises BadAudio.
    """
    if not content:
        raise BadAudio(name, REASONS["empty"])
    try:
        with wave.open(BytesIO(content)) as file:
            n_channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise BadAudio(name, f"without a page, only WAV files with integer samples are decoded ({error})") from error
    n_values = len(frames) // (width * n_channels) * n_channels
    channels = _to_float(frames[: n_values * width], width).reshape(-1, n_channels)
    pcm: Float32 = channels.mean(axis=1, dtype=np.float32)
    if rate_hz != SAMPLE_RATE_HZ:
        resampler = Resampler(rate_hz, SAMPLE_RATE_HZ)
        pcm = np.concatenate([resampler(pcm), resampler.flush()])
    seconds = len(pcm) / SAMPLE_RATE_HZ
    if seconds < SHORTEST_AUDIO_S:
        raise BadAudio(name, REASONS["too_short"].format(seconds=f"{seconds:.2f} s"))
    return pcm


def _to_float(samples: bytes, width: int) -> Float32:
    """Little-endian integers of `width` bytes as float32 in [-1, 1). 8-bit samples are unsigned, others signed."""
    if width == 1:
        return (np.frombuffer(samples, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    padded = np.zeros((len(samples) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(samples, np.uint8).reshape(-1, width)
    return padded.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
