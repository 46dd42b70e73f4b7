"""Shards: files of utterances at 24 kHz, either raw PCM (on the training machine) or Opus (to travel).

A shard is one line of JSON, `{"codec": "pcm" | "opus", "utterances": [[samples, bytes, voice, label, starts], ...]}`,
followed by the payloads in the same order. `starts` holds the engine's own word starts in seconds, one a word.
"""

import ctypes
import functools
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 24_000
_OPUS_FRAME = SAMPLE_RATE * 60 // 1000  # the longest single frame: fewest bytes of overhead
_OPUS_APPLICATION_AUDIO, _OPUS_SET_BITRATE, _OPUS_GET_LOOKAHEAD = 2049, 4002, 4027


@dataclass(frozen=True)
class Utterance:
    """One spoken sentence: `pcm` (n,) int16 at 24 kHz; `starts` seconds, one for each word of `label`."""

    pcm: np.ndarray
    label: str
    starts: tuple[float, ...]
    voice: str

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.label.split()):
            raise ValueError(f"{len(self.starts)} word starts for {self.label!r}")


def write(path: Path, utterances: Iterable[Utterance], bitrate: int | None = None) -> None:
    """Write a shard in one atomic step; `bitrate` (bit/s) selects Opus, None raw PCM."""
    header, payload = [], []
    for u in utterances:
        data = _opus_encode(u.pcm, bitrate) if bitrate else u.pcm.astype("<i2").tobytes()
        header.append([len(u.pcm), len(data), u.voice, u.label, [round(s, 3) for s in u.starts]])
        payload.append(data)
    line = json.dumps({"codec": "opus" if bitrate else "pcm", "utterances": header}).encode() + b"\n"
    partial = path.with_suffix(".part")
    partial.write_bytes(line + b"".join(payload))
    os.replace(partial, path)


@dataclass(frozen=True)
class Packed:
    """An utterance that is Opus already; `skip` and `samples` count at 24 kHz."""

    packets: tuple[bytes, ...]
    skip: int
    samples: int
    label: str
    starts: tuple[float, ...]
    voice: str

    def payload(self) -> bytes:
        return struct.pack("<H", self.skip) + b"".join(struct.pack("<H", len(p)) + p for p in self.packets)

    def pcm(self) -> np.ndarray:
        """Decode to (samples,) int16."""
        return _opus_decode(self.payload(), self.samples)


def write_packed(path: Path, utterances: Iterable[Packed]) -> None:
    """Write a shard of Opus packets as they are, in one atomic step."""
    header, payload = [], []
    for u in utterances:
        data = u.payload()
        header.append([u.samples, len(data), u.voice, u.label, [round(s, 3) for s in u.starts]])
        payload.append(data)
    line = json.dumps({"codec": "opus", "utterances": header}).encode() + b"\n"
    partial = path.with_suffix(".part")
    partial.write_bytes(line + b"".join(payload))
    os.replace(partial, path)


def read(path: Path, first: int = 0, step: int = 1) -> list[Utterance]:
    """Read a shard of either codec, or every `step`-th utterance of it from `first` on."""
    raw = path.read_bytes()
    end = raw.index(b"\n") + 1
    meta = json.loads(raw[:end])
    out = []
    for index, (samples, size, voice, label, starts) in enumerate(meta["utterances"]):
        data, end = raw[end : end + size], end + size
        if index % step != first:
            continue
        pcm = _opus_decode(data, samples) if meta["codec"] == "opus" else np.frombuffer(data, "<i2")
        out.append(Utterance(pcm, label, tuple(starts), voice))
    return out


@functools.cache
def _opus() -> ctypes.CDLL:
    lib = ctypes.CDLL("libopus.so.0")
    lib.opus_encoder_create.restype = lib.opus_decoder_create.restype = ctypes.c_void_p
    return lib


def _opus_encode(pcm: np.ndarray, bitrate: int) -> bytes:
    """Encode to packets of 60 ms, each after its length as uint16."""
    lib, error = _opus(), ctypes.c_int()
    state = ctypes.c_void_p(lib.opus_encoder_create(SAMPLE_RATE, 1, _OPUS_APPLICATION_AUDIO, ctypes.byref(error)))
    lib.opus_encoder_ctl(state, _OPUS_SET_BITRATE, ctypes.c_int(bitrate))
    lookahead = ctypes.c_int()
    lib.opus_encoder_ctl(state, _OPUS_GET_LOOKAHEAD, ctypes.byref(lookahead))
    frames = -(-(len(pcm) + lookahead.value) // _OPUS_FRAME)
    padded = np.zeros(frames * _OPUS_FRAME, np.int16)
    padded[: len(pcm)] = pcm
    buffer = ctypes.create_string_buffer(4000)
    out = [struct.pack("<H", lookahead.value)]
    for frame in padded.reshape(frames, _OPUS_FRAME):
        pointer = frame.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        size = lib.opus_encode(state, pointer, _OPUS_FRAME, buffer, len(buffer))
        out.append(struct.pack("<H", size) + buffer.raw[:size])
    lib.opus_encoder_destroy(state)
    return b"".join(out)


def _opus_decode(data: bytes, samples: int) -> np.ndarray:
    """Decode the output of `_opus_encode`, aligned with its input: (samples,) int16."""
    lib, error = _opus(), ctypes.c_int()
    state = ctypes.c_void_p(lib.opus_decoder_create(SAMPLE_RATE, 1, ctypes.byref(error)))
    (lookahead,) = struct.unpack_from("<H", data)
    position, out, frame = 2, [], np.empty(_OPUS_FRAME, np.int16)
    pointer = frame.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
    while position < len(data):
        (size,) = struct.unpack_from("<H", data, position)
        packet = data[position + 2 : position + 2 + size]
        count = lib.opus_decode(state, packet, size, pointer, _OPUS_FRAME, 0)
        out.append(frame[:count].copy())
        position += 2 + size
    lib.opus_decoder_destroy(state)
    return np.concatenate(out)[lookahead : lookahead + samples]
