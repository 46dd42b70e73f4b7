"""WAV files are decoded without a browser."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from tympan.embed.wav import decode_wav, has_page
from tympan.errors import BadAudio

SECONDS = 0.5


def tone(rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(SECONDS * rate_hz)) / rate_hz)


def wav(samples: np.ndarray, rate_hz: int, width: int, n_channels: int = 1) -> bytes:
    """A WAV file; all channels have the samples, in [-1, 1]."""
    scaled = np.round(samples * 2 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
    frames = b"".join(int(value).to_bytes(width, "little", signed=width > 1) * n_channels for value in scaled)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((n_channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(frames)
    return target.getvalue()


@pytest.mark.parametrize(("width", "tolerance"), [(1, 1e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_samples_of_every_width_are_decoded(width: int, tolerance: float, n_channels: int) -> None:
    pcm = decode_wav(wav(tone(24_000), 24_000, width, n_channels))
    assert pcm.dtype == np.float32
    np.testing.assert_allclose(pcm, tone(24_000), atol=tolerance)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_rates_are_converted(rate_hz: int) -> None:
    pcm = decode_wav(wav(tone(rate_hz), rate_hz, 2))
    expected = tone(24_000)
    assert abs(len(pcm) - len(expected)) <= 1
    middle = slice(2_000, 10_000)  # the ends of the tone are steps, which the filter rounds
    np.testing.assert_allclose(pcm[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no audio", "only WAV files"),
        (wav(np.zeros(2_400), 24_000, 2), "it is 0.10 s long, too short for a word"),
    ],
)
def test_files_that_cannot_be_transcribed_are_rejected(content: bytes, reason: str) -> None:
    with pytest.raises(BadAudio, match=f"^“Recording” cannot be transcribed: .*{reason}"):
        decode_wav(content)


def test_there_is_no_page_here() -> None:
    assert not has_page()
