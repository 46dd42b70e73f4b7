"""Decodes audio files to the samples that Kyutai's scripts feed to Mimi, so that codes can be compared exactly.

Browsers decode MP3 and resample in their own ways, which moves codes. The scripts decode with `sphn` and resample with
`julius`; so does this module, with the first and with julius' formula in numpy.
Sources: kyutai-labs/delayed-streams-modeling@f6074cb scripts/stt_from_file_pytorch.py; adefossez/julius 0.2.7
julius/resample.py, ResampleFrac.
"""

from __future__ import annotations

from math import ceil, gcd
from pathlib import Path
from struct import pack

import numpy as np

from tympan.arrays import Float32
from tympan.cli.errors import CommandError
from tympan.config import SAMPLE_RATE_HZ

_ZEROS = 24  # zero crossings of the sinc on each side
_ROLLOFF = 0.945  # of the lower rate's band
_FLOAT = 3  # WAV's format of IEEE floats


def decode(path: Path) -> Float32:
    """Decode a file to float32 (n_samples,) in [-1, 1] at 24 kHz. Channels are averaged. Raises CommandError."""
    try:
        import sphn
    except ImportError as error:
        raise CommandError("Decoding the reference needs the package sphn: pip install 'tympan[verify]'.") from error
    try:
        channels, rate_hz = sphn.read(str(path))
    except Exception as error:  # which sphn does not narrow down
        raise CommandError(f"{path} cannot be decoded: {error}.") from error
    return resample(channels.mean(axis=0, dtype=np.float32), int(rate_hz), SAMPLE_RATE_HZ)


def resample(samples: Float32, from_hz: int, to_hz: int) -> Float32:
    """Resample a whole recording with a windowed sinc.

    samples: float32 (n,). Returns float32 (floor(n * to_hz / from_hz),).
    """
    divisor = gcd(from_hz, to_hz)
    old, new = from_hz // divisor, to_hz // divisor
    if old == new:
        return samples
    rate = min(new, old) * _ROLLOFF
    width = ceil(_ZEROS * old / rate)
    offsets = np.arange(-width, width + old, dtype=np.float32)
    t = (-np.arange(new, dtype=np.float32)[:, None] / np.float32(new) + offsets / np.float32(old)) * np.float32(rate)
    t = np.clip(t, -_ZEROS, _ZEROS)
    kernels = np.sinc(t) * np.cos(t * np.float32(np.pi) / _ZEROS / 2) ** 2
    kernels = (kernels / kernels.sum(axis=1, keepdims=True)).astype(np.float32)
    padded = np.pad(samples, (width, width + old), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1])[::old]
    resampled: Float32 = (windows @ kernels.T).reshape(-1)
    return resampled[: new * len(samples) // old]


def write_float_wav(path: Path, samples: Float32) -> None:
    """Write float32 (n_samples,) at 24 kHz as a WAV file of floats, which browsers decode without a change."""
    content = samples.astype("<f4").tobytes()
    format_chunk = pack("<HHIIHH", _FLOAT, 1, SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ, 4, 32)
    chunks = b"fmt " + pack("<I", len(format_chunk)) + format_chunk + b"data" + pack("<I", len(content)) + content
    path.write_bytes(b"RIFF" + pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
