"""Reads the packets of Ogg Opus files."""

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class OpusPackets:
    """The packets of an Ogg Opus file. `skip` and `samples` count at 24 kHz."""

    packets: tuple[bytes, ...]
    skip: int
    samples: int


def read_ogg(data: bytes) -> OpusPackets:
    """Read an Ogg Opus file with one stream."""
    packets, pending, position, granule = list[bytes](), b"", 0, 0
    while position < len(data):
        magic, _, _, page_granule, _, _, _, n_segments = struct.unpack_from("<4sBBqIIIB", data, position)
        if magic != b"OggS":
            raise ValueError("not an Ogg page")
        sizes = data[position + 27 : position + 27 + n_segments]
        position += 27 + n_segments
        for size in sizes:
            pending += data[position : position + size]
            position += size
            if size < 255:
                packets.append(pending)
                pending = b""
        granule = max(granule, page_granule)
    (skip,) = struct.unpack_from("<H", packets[0], 10)
    return OpusPackets(tuple(packets[2:]), skip // 2, (granule - skip) // 2)
