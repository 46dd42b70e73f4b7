"""`tympan inspect` and `tympan quantize --verify`: listing and verifying models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.awaiting import run
from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.quantize.convert import quantize
from tympan.quantize.gguf import write_gguf
from tympan.quantize.inspect import inspect
from tympan.quantize.shards import describe
from tympan.quantize.verify import verify
from tympan.weights import q4, q8

GOLDEN = Path(__file__).parents[1] / "golden" / "a"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    quantize(GOLDEN, tmp_path / "a")
    return tmp_path / "a"


def replace(model: Path, name: str, index: int) -> None:
    """Update a changed file's entry in the manifest."""
    manifest = json.loads((model / "model.json").read_text())
    described = describe(model / name, manifest["files"][index]["role"])
    manifest["files"][index] |= {"bytes": described.n_bytes, "sha256": described.sha256}
    (model / "model.json").write_text(json.dumps(manifest))


def test_model_directory(model: Path) -> None:
    lines = list(inspect(model))
    assert "languages  " in lines
    assert any(line.startswith("lm-00001.safetensors  lm, ") for line in lines)
    assert any(line.split()[:2] == ["text_linear.weight.q4", "U8"] and "[256, 4, 16]" in line for line in lines)


def test_tables_in_8_bits(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a", embeddings="q8")
    run(verify(tmp_path / "a"))
    lines = [line.split() for line in inspect(tmp_path / "a")]
    assert ["text_emb.weight.q8", "I8", "[257,", "4,", "32]", "32,896"] in lines
    assert ["text_emb.weight.scale", "F16", "[257,", "4]", "2,056"] in lines


def test_gguf_file(tmp_path: Path) -> None:
    matrix = q4.quantize(np.ones((3, 64), np.float32))
    table = q8.quantize(np.ones((3, 64), np.float32))
    write_gguf(tmp_path / "a.gguf", {"w": matrix, "t": table, "norm.alpha": np.ones((1, 1, 9), np.float32)})
    assert list(inspect(tmp_path / "a.gguf")) == [
        "w           Q4_0  [3, 64]    108",
        "t           Q8_0  [3, 64]    204",
        "norm.alpha  F32   [1, 1, 9]   36",
        "3 tensors, 348 bytes",
    ]


def test_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        list(inspect(tmp_path))
    (tmp_path / "a.gguf").write_bytes(b"")
    with pytest.raises(BadModel, match=r"a\.gguf cannot be read"):
        list(inspect(tmp_path / "a.gguf"))


def test_valid_model_is_verified(model: Path) -> None:
    assert run(verify(model)).name == "a"


def test_changed_byte_is_found(model: Path) -> None:
    content = bytearray((model / "mimi-00001.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "mimi-00001.safetensors").write_bytes(content)
    with pytest.raises(CorruptFile, match="mimi-00001"):
        run(verify(model))


def test_nan_is_found(model: Path) -> None:
    path = model / "lm-00001.safetensors"
    tensors = load_file(path)
    tensors["transformer.layers.1.norm2.alpha"][0, 0, 3] = np.nan
    save_file(tensors, path)
    replace(model, path.name, 0)
    with pytest.raises(BadModel, match=r"layers\.1\.norm2\.alpha holds a value that is not finite"):
        run(verify(model))


def test_wrong_tokenizer_is_found(model: Path) -> None:
    (model / "tokenizer.model").write_bytes((GOLDEN / "tokenizer.model").read_bytes()[:1000].rpartition(b"\n")[0])
    replace(model, "tokenizer.model", 2)
    with pytest.raises(BadModel, match="tokenizer"):
        run(verify(model))
