"""Keeps the sound of a voice as a WAV file of 32-bit floats: the very samples that were transcribed."""

import struct

from pyscript import window
from pyscript.ffi import to_js

IEEE_FLOAT = 3
SAMPLE_BYTES = 4
PIECE = 125  # frames that are put together: a Blob lies outside of the page's memory
HEADER_BYTES = 44


class Recorder:
    """Takes Float32Arrays and makes a Blob of them."""

    def __init__(self, rate_hz):
        self._rate_hz, self._n_samples = rate_hz, 0
        self._pieces, self._frames = [], []

    def hear(self, samples):
        self._n_samples += samples.length
        self._frames.append(samples)
        if len(self._frames) == PIECE:
            self._pieces.append(_blob(self._frames))
            self._frames = []

    def wav(self):
        """The whole of it, as a Blob of the type audio/wav."""
        header = wav_header(self._rate_hz, self._n_samples)
        return _blob([window.Uint8Array.new(to_js(list(header)))] + self._pieces + self._frames)


def wav_header(rate_hz, n_samples):
    """The 44 bytes before mono float samples. Source: Microsoft, Multimedia Programming Interface 1.0, RIFF WAVE."""
    n_bytes = n_samples * SAMPLE_BYTES
    form = struct.pack("<HHIIHH", IEEE_FLOAT, 1, rate_hz, rate_hz * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    parts = [b"RIFF", struct.pack("<I", HEADER_BYTES - 8 + n_bytes), b"WAVEfmt ", struct.pack("<I", len(form)), form]
    return b"".join(parts) + b"data" + struct.pack("<I", n_bytes)


def _blob(parts):
    return window.Blob.new(window.Array.of(*parts), window.JSON.parse('{"type": "audio/wav"}'))
