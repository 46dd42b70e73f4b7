"""The GGUF reader, with files built byte by byte and with invalid headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tympan.errors import BadModel
from tympan.quantize.gguf import write_gguf
from tympan.weights import q4, q8
from tympan.weights.file import InMemory
from tympan.weights.gguf import GgufFile

RNG = np.random.default_rng(5)
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8


def number(value: int, n_bytes: int = 8) -> bytes:
    return value.to_bytes(n_bytes, "little")


def text(value: str) -> bytes:
    return number(len(value.encode())) + value.encode()


def entry(name: str = "w", dims: tuple[int, ...] = (3, 2), kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + number(len(dims), 4) + b"".join(map(number, dims)) + number(kind, 4) + number(offset)


def packed(
    *entries: bytes, n_data_bytes: int = 24, metadata: tuple[bytes, ...] = (), version: int = 3, alignment: int = 32
) -> bytes:
    header = b"GGUF" + number(version, 4) + number(len(entries)) + number(len(metadata)) + b"".join(metadata + entries)
    return header + bytes(-len(header) % alignment) + bytes(n_data_bytes)


def read(content: bytes) -> GgufFile:
    return GgufFile(InMemory(content), "model.gguf")


def test_dimensions_are_reversed() -> None:
    values = np.arange(6, dtype=np.float32)
    content = packed(entry(dims=(3, 2)), n_data_bytes=0) + values.tobytes()
    assert np.array_equal(read(content)["w"], values.reshape(2, 3))


def test_all_types(tmp_path: Path) -> None:
    values = RNG.normal(size=(5, 96)).astype(np.float32)
    matrix, table = q4.quantize(values), q8.quantize(values)
    tensors: dict[str, Any] = {
        "norm.alpha": RNG.normal(size=(1, 1, 7)).astype(np.float32),
        "half": RNG.normal(size=(3, 5)).astype(np.float16),
        "matrix": matrix,
        "table": table,
        "last": RNG.normal(size=11).astype(np.float32),
    }
    write_gguf(tmp_path / "a.gguf", tensors)
    restored = read((tmp_path / "a.gguf").read_bytes())
    assert list(restored) == ["norm.alpha", "half", "matrix.q4", "matrix.scale", "table.q8", "table.scale", "last"]
    assert len(restored) == 7
    assert "matrix" not in restored
    assert "matrix.q4" in restored
    with pytest.raises(KeyError):
        restored["matrix"]
    for name, quantized in (("matrix.q4", matrix), ("table.q8", table)):
        assert restored[name].dtype == quantized.blocks.dtype
        assert restored.shape(name) == quantized.blocks.shape
        assert restored.shape(f"{name[:-3]}.scale") == quantized.scale.shape
        assert np.array_equal(restored[name], quantized.blocks)
        assert np.array_equal(restored[f"{name[:-3]}.scale"], quantized.scale)
    for name in ("norm.alpha", "half", "last"):
        assert restored[name].dtype == tensors[name].dtype
        assert np.array_equal(restored[name], tensors[name])


def test_both_parts_of_a_matrix_need_one_read() -> None:
    class Counting(InMemory):
        read_bytes = 0

        def read(self, offset: int, n_bytes: int) -> NDArray[np.uint8]:
            self.read_bytes += n_bytes
            return super().read(offset, n_bytes)

    file = Counting(packed(entry(dims=(32, 4), kind=Q4_0), n_data_bytes=72))
    tensors = GgufFile(file, "model.gguf")
    before = file.read_bytes
    assert tensors["w.q4"].shape == (4, 1, 16)
    assert tensors["w.scale"].shape == (4, 1)
    assert file.read_bytes - before == 72


def test_metadata_of_every_type_is_parsed() -> None:
    metadata = [text(f"fixed{kind}") + number(kind, 4) + bytes(n) for kind, n in enumerate([1, 1, 2, 2, 4, 4, 4, 1])]
    metadata += [text(f"long{kind}") + number(kind, 4) + bytes(8) for kind in (10, 11, 12)]
    metadata += [
        text("name") + number(8, 4) + text("Kyutai"),
        text("numbers") + number(9, 4) + number(4, 4) + number(2),
    ]
    metadata[-1] += bytes(8)
    metadata += [text("texts") + number(9, 4) + number(8, 4) + number(2) + text("a") + text("bc")]
    file = read(packed(entry(), metadata=tuple(metadata)))
    assert list(file) == ["w"]
    assert file.metadata == dict.fromkeys([f"fixed{kind}" for kind in range(8)] + ["long10", "long11", "long12"], 0)


def test_alignment_from_metadata() -> None:
    metadata = (text("general.alignment") + number(4, 4) + number(64, 4),)
    first, second = entry("a", (3, 2), F32, 0), entry("b", (3, 2), F32, 64)
    assert list(read(packed(second, first, metadata=metadata, alignment=64, n_data_bytes=88))) == ["a", "b"]


def test_header_longer_than_the_first_read() -> None:
    metadata = (text("vocabulary") + number(9, 4) + number(8, 4) + number(20_000) + 20_000 * text("piece"),)
    assert list(read(packed(entry(), metadata=metadata))) == ["w"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "in the middle of its header"),
        (b"GGML" + bytes(100), "does not begin with GGUF"),
        (packed(entry(), version=2), "has version 2"),
        (packed(entry())[:60], "in the middle of its header"),
        (packed(entry(), entry()), "in it twice"),
        (packed(entry(dims=(1, 1, 1, 2, 3))), "5 dimensions"),
        (packed(entry(dims=(2**20, 2**20))), "invalid shape"),
        (packed(entry(dims=(2**63, 2**63))), "invalid shape"),
        (packed(entry(kind=3)), "has the type 3; only F32, F16, Q4_0, Q8_0 are supported"),
        (packed(entry(dims=(40, 2), kind=Q4_0)), "cannot hold row by row"),
        (packed(entry(dims=(32,), kind=Q4_0)), "cannot hold row by row"),
        (packed(entry(dims=(40, 2), kind=Q8_0)), "Q8_0 cannot hold row by row"),
        (packed(entry("a"), entry("b", offset=20), n_data_bytes=44), "the tensor before it ends at 24"),
        (packed(entry("a"), entry("b", offset=64), n_data_bytes=88), "the tensor before it ends at 24"),
        (packed(entry(offset=2**63)), "begins at byte"),
        (packed(entry(), n_data_bytes=23), "its tensors take 24 bytes, it has 23"),
        (packed(entry(), n_data_bytes=24 + 32), "its tensors take 24 bytes, it has 56"),
        (packed(entry(), metadata=(text("x") + number(13, 4),)), "metadata has the type 13"),
        (packed(entry(), metadata=(text("x") + number(9, 4) + number(9, 4) + number(1),)), "metadata has the type 9"),
        (packed(entry(), metadata=(text("x") + number(9, 4) + number(4, 4) + number(2**61),)), "middle of its header"),
        (packed(entry(), metadata=(text("general.alignment") + number(4, 4) + number(0, 4),)), "alignment is 0"),
        (packed(text("w")[:-1] + b"\xff" + entry()[9:]), "codec can't decode"),
    ],
)
def test_invalid_header_is_rejected(content: bytes, reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        read(content)


def test_scale_that_is_not_a_number_is_rejected() -> None:
    content = packed(entry(dims=(32, 1), kind=Q4_0), n_data_bytes=0)
    with pytest.raises(BadModel, match=r"model\.gguf, 'w': a q4 scale"):
        read(content + np.float16(np.nan).tobytes() + bytes(16))["w.q4"]
