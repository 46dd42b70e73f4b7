"""The safetensors reader against the official package, and with invalid headers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import TensorSpec, serialize
from safetensors.numpy import save

from tympan.errors import BadModel
from tympan.weights.file import InMemory
from tympan.weights.safetensors import SafetensorsFile, read

RNG = np.random.default_rng(3)

DTYPES = [
    np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float16, np.float32,
    np.float64,
]  # fmt: skip


def packed(header: object, n_data_bytes: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(n_data_bytes)


def entry(dtype: Any = "F32", shape: Any = (2, 3), data_offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}


def test_every_dtype_of_the_package() -> None:
    tensors: dict[str, NDArray[Any]] = {
        np.dtype(dtype).name: RNG.integers(0, 2, (3, 5, 2)).astype(dtype) for dtype in DTYPES
    }
    tensors |= {"scalar": np.array(7, np.float32), "empty": np.zeros((0, 4), np.float32)}
    tensors["a name.with “signs”"] = RNG.normal(size=1000).astype(np.float32)
    restored = read(save(tensors, {"format": "pt"}), "model.safetensors")
    assert restored.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert restored[name].dtype == tensor.dtype
        assert np.array_equal(restored[name], tensor)


def test_bfloat16_is_exact() -> None:
    bits = np.arange(2**16, dtype=np.uint16)  # all possible values
    spec = TensorSpec(dtype="bfloat16", shape=[256, 256], data_ptr=bits.ctypes.data, data_len=bits.nbytes)
    content = serialize({"w": spec})
    restored = read(content, "model.safetensors")["w"]
    assert restored.dtype == np.float32
    assert restored.shape == (256, 256)
    assert np.array_equal(restored.ravel().view(np.uint32), bits.astype(np.uint32) << 16)


def test_tensors_are_views() -> None:
    content = save({"a": np.ones(8, np.float32), "b": np.ones(3, np.float16)})
    for buffer in (content, bytearray(content), memoryview(content)):
        whole: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
        assert all(np.shares_memory(whole, tensor) for tensor in read(buffer, "x").values())


def test_names_are_available_without_decoding() -> None:
    file = SafetensorsFile(InMemory(save({"a": np.ones((2, 3), np.float32)})), "x")
    assert list(file) == ["a"]
    assert "a" in file
    assert "b" not in file
    assert file.shape("a") == (2, 3)


INVALID = {
    "empty": b"",
    "short": b"\x01\x00",
    "header beyond the file": (1000).to_bytes(8, "little") + b"{}",
    "enormous header": (2**63).to_bytes(8, "little") + b"{}",
    "not JSON": packed(b"{nothing"),
    "not UTF-8": packed(b'{"\xff": 1}'),
    "another encoding": packed('{"a": 1}'.encode("utf-16")),
    "deep": packed(b"[" * 100_000),
    "long number": packed(b'{"w": {"dtype": "U8", "shape": [' + b"9" * 10_000 + b'], "data_offsets": [0, 0]}}'),
    "a list": packed([]),
    "an entry that is not an object": packed({"w": 1}),
    "a key missing": packed({"w": {"dtype": "F32", "shape": [1]}}, 4),
    "a key too many": packed({"w": entry() | {"url": ""}}, 24),
    "a name twice": packed(b'{"w": %b, "w": %b}' % ((json.dumps(entry()).encode(),) * 2), 24),
    "unknown dtype": packed({"w": entry(dtype="F31")}, 24),
    "dtype of another type": packed({"w": entry(dtype=["F32"])}, 24),
    "shape of another type": packed({"w": entry(shape=6)}, 24),
    "fraction": packed({"w": entry(shape=[2.0, 3])}, 24),
    "boolean": packed({"w": entry(shape=[True, 6])}, 24),
    "negative": packed({"w": entry(shape=[-2, -3])}, 24),
    "too many dimensions": packed({"w": entry(shape=[1] * 100 + [6])}, 24),
    "overflow beside zero": packed({"w": entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0])}),
    "three offsets": packed({"w": entry(data_offsets=[0, 24, 24])}, 24),
    "backwards": packed({"w": entry(data_offsets=[24, 0])}, 24),
    "too few bytes": packed({"w": entry(data_offsets=[0, 20])}, 20),
    "past the end": packed({"w": entry()}, 23),
    "bytes left over": packed({"w": entry()}, 25),
    "a gap": packed({"w": entry(data_offsets=[8, 32])}, 32),
    "an overlap": packed({"a": entry(), "b": entry(data_offsets=[12, 36])}, 36),
}


@pytest.mark.parametrize("content", INVALID.values(), ids=INVALID.keys())
def test_invalid_file_is_rejected_by_name(content: bytes) -> None:
    with pytest.raises(BadModel, match=r"model\.safetensors is not a valid safetensors file"):
        read(content, "model.safetensors")


def test_mutated_headers_raise_only_bad_model() -> None:
    valid = save({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.uint8), "c": np.ones(2, np.int64)})
    header_end = 8 + int.from_bytes(valid[:8], "little")
    n_rejected = 0
    for _ in range(3000):
        changed = bytearray(valid)
        for position in RNG.integers(0, header_end, RNG.integers(1, 4)):
            changed[position] = RNG.integers(0, 256)
        if RNG.random() < 0.2:
            del changed[RNG.integers(0, len(changed)) :]
        try:
            read(changed, "model.safetensors")
        except BadModel:
            n_rejected += 1
    assert 2000 < n_rejected < 3000  # changes to names or whitespace are undetectable
