"""Fuzzing: for damaged files every loader returns a model or raises BadModel, with bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tympan.errors import BadModel
from tympan.quantize.gguf import write_gguf
from tympan.text.tokenizer import Tokenizer
from tympan.weights import q4, q8
from tympan.weights.blocks import BlockMatrix
from tympan.weights.catalogue import Catalogue
from tympan.weights.file import InMemory
from tympan.weights.hub import describe_files
from tympan.weights.manifest import Manifest
from tympan.weights.matrix import dense
from tympan.weights.model import open_tensors
from tympan.weights.tensors import Tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
MODELS = Path(__file__).parents[2] / "static" / "models"
N_MUTATIONS = 1000
SLACK_BYTES = 1 << 21  # overhead of Python objects for a small file
# Edge cases: limits of the integer types, and lengths that are slightly or far too large.
NUMBERS = [0, 1, 31, 32, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**53, 2**61, 2**62, 2**63, 2**64 - 1]
TOKENS = [b"-1", b"1e999", b"NaN", b"[]", b"{}", b"null", b"9" * 40, b"[" * 3000, b'"', b"\\u0000", b"..", b"/"]


def small_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"layer.{i}.weight": rng.normal(size=(4, 32)).astype([np.float32, np.float16][i % 2]) for i in range(6)}


def small_matrices() -> dict[str, BlockMatrix]:
    values = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    return {"matrix": q4.quantize(values), "table": q8.quantize(values)}


def safetensors_file() -> bytes:
    matrices = small_matrices().items()
    parts = {f"{name}.{matrix.format}": matrix.blocks for name, matrix in matrices}
    return save(small_tensors() | parts | {f"{name}.scale": matrix.scale for name, matrix in matrices})


def gguf_file(folder: Path) -> bytes:
    write_gguf(folder / "a.gguf", {**small_tensors(), **small_matrices()})
    return (folder / "a.gguf").read_bytes()


def read_tensors(content: bytes) -> None:
    tensors = open_tensors(InMemory(content), "a")
    for name in tensors:
        assert tensors[name].nbytes <= 2 * len(content)
    for name in ("matrix", "table"):
        dense(Tensors(tensors).matrix(name, 4, 64))


def read_listing(content: bytes) -> None:
    describe_files(content, [("a.gguf", "lm"), ("tokenizer.model", "tokenizer")])


LISTING = json.dumps(
    [
        {"type": "file", "path": path, "size": 70, "oid": "1", "lfs": {"oid": "0a" * 32, "size": 70}}
        for path in ("a.gguf", "tokenizer.model")
    ]
).encode()

READERS: dict[str, tuple[Callable[[Path], bytes], Callable[[bytes], object]]] = {
    "safetensors": (lambda folder: safetensors_file(), read_tensors),
    "gguf": (gguf_file, read_tensors),
    "manifest": (lambda folder: (MODELS / "demo" / "model.json").read_bytes(), Manifest.parse),
    "catalogue": (
        lambda folder: (MODELS / "catalogue.json").read_bytes(),
        lambda content: Catalogue.parse(content, "https://example.org/catalogue.json"),
    ),
    "listing": (lambda folder: LISTING, read_listing),
    "tokenizer": (lambda folder: (GOLDEN / "tokenizer.model").read_bytes(), Tokenizer.from_bytes),
}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Apply one to four random mutations, most of them in the header."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        reach = len(damaged) if rng.random() < 0.3 else min(len(damaged), 600)
        at = int(rng.integers(0, max(reach, 1)))
        kind = rng.integers(0, 7)
        if kind == 0:
            damaged[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            damaged[at : at + 8] = NUMBERS[rng.integers(0, len(NUMBERS))].to_bytes(8, "little")
        elif kind == 2:
            damaged[at : at + 4] = (NUMBERS[rng.integers(0, len(NUMBERS))] % 2**32).to_bytes(4, "little")
        elif kind == 3:
            del damaged[at:]
        elif kind == 4:
            del damaged[at : at + int(rng.integers(1, 40))]
        elif kind == 5:
            damaged[at:at] = damaged[int(rng.integers(0, max(reach, 1))) :][: int(rng.integers(1, 80))]
        else:
            token = TOKENS[rng.integers(0, len(TOKENS))]
            damaged[at : at + int(rng.integers(0, 12))] = token
    return bytes(damaged)


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_raise_only_bad_model(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    content, rng = make(tmp_path), np.random.default_rng(len(name))
    read(content)
    messages: list[str] = []
    tracemalloc.start()
    try:
        for _ in range(N_MUTATIONS):
            damaged = mutated(content, rng)
            tracemalloc.reset_peak()
            before_bytes, _ = tracemalloc.get_traced_memory()
            try:
                read(damaged)
            except BadModel as error:
                messages.append(str(error))
            _, peak_bytes = tracemalloc.get_traced_memory()
            assert peak_bytes - before_bytes < 20 * len(damaged) + SLACK_BYTES
    finally:
        tracemalloc.stop()
    assert len(messages) > N_MUTATIONS // 4, "the mutations have an effect"
    assert max(map(len, messages)) < 1000, "messages stay short for any input"
