"""Writes the files of a published GGUF model from the descriptions of the formats, without the library's code.

Sources: ggml-org/ggml docs/gguf.md; idle-intelligence/stt-web@7187f13 scripts/{quantize,strip_mimi}.py: GGUF without
padding between tensors, scales by absolute maximum, no pause heads, parts of limited size, Mimi in float16.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
F32, Q4_0 = 0, 2
UINT32, FLOAT32, STRING = 4, 6, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def metadata_value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text(value)
    return struct.pack("<II", UINT32, value) if isinstance(value, int) else struct.pack("<If", FLOAT32, value)


def metadata_of(config: Mapping[str, Any], hidden: int) -> dict[str, str | float]:
    """The metadata that the published file has."""
    return {
        "general.architecture": "kyutai-stt",
        "stt.context_length": config["context"],
        "stt.embedding_length": config["dim"],
        "stt.block_count": config["num_layers"],
        "stt.feed_forward_length": hidden,
        "stt.attention.head_count": config["num_heads"],
        "stt.vocab_size": config["text_card"],
        "stt.audio_vocab_size": config["card"] + 1,
        "stt.rope.freq_base": config["max_period"],
    }


def q4_0(matrix: Array) -> tuple[bytes, Array]:
    """Blocks of 32: a half float and 16 bytes. Returns the bytes, and the values that they stand for."""
    blocks = matrix.astype(np.float32).reshape(-1, 32)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    scales = np.where(largest > 0, largest / 7, 1)
    levels = np.clip(np.round(blocks / scales), -8, 7).astype(int)
    halves = scales.astype("<f2")
    packed = b"".join(
        halves[i].tobytes() + bytes((row[16 + j] + 8) << 4 | (row[j] + 8) for j in range(16))
        for i, row in enumerate(levels.tolist())
    )
    return packed, (levels * halves.astype(np.float32)).astype(np.float32).reshape(matrix.shape)


def gguf(tensors: Mapping[str, Array], metadata: Mapping[str, str | float]) -> tuple[bytes, dict[str, Array]]:
    """A GGUF file of the tensors, and the values that it stands for."""
    index, data, values = b"", b"", {}
    kept = {name: tensors[name] for name in sorted(tensors) if not name.startswith("extra_heads.")}
    for name, tensor in kept.items():
        kind = F32 if ".alpha" in name else Q4_0
        dims = struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape))
        index += text(name) + struct.pack("<I", tensor.ndim) + dims + struct.pack("<IQ", kind, len(data))
        content, values[name] = q4_0(tensor) if kind == Q4_0 else (tensor.astype("<f4").tobytes(), tensor)
        data += content
    header = b"GGUF" + struct.pack("<IQQ", 3, len(kept), len(metadata))
    header += b"".join(text(key) + metadata_value(value) for key, value in metadata.items()) + index
    return header + bytes(-len(header) % 32) + data, values


def split(content: bytes, n_bytes: int) -> dict[str, bytes]:
    """Parts of at most n_bytes, named as the published script names them."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    starts = range(0, len(content), n_bytes)
    return {
        f"shard-{letters[i // 26]}{letters[i % 26]}": content[start : start + n_bytes] for i, start in enumerate(starts)
    }


def stripped(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The encoder's part of a Mimi checkpoint in float16."""
    kept = ("encoder.", "encoder_transformer.", "downsample.", "quantizer.")
    return {name: tensor.astype(np.float16) for name, tensor in tensors.items() if name.startswith(kept)}
