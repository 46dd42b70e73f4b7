"""Converting an official checkpoint to a model directory, and rejected input."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import TensorSpec, serialize_file
from safetensors.numpy import load_file, save_file

from tests.awaiting import run
from tympan.checkpoint import scales
from tympan.checkpoint.conversion import SHARD_BYTES
from tympan.errors import BadModel, BadOption
from tympan.lm.reference import Reference
from tympan.lm.weights import LMWeights
from tympan.quantize.checkpoint import Checkpoint
from tympan.quantize.convert import Format, quantize
from tympan.quantize.shards import write_shards
from tympan.weights import q8
from tympan.weights.info import ModelInfo
from tympan.weights.matrix import dense, format_of
from tympan.weights.model import Folder, ModelFiles, read_model
from tympan.weights.q4 import Q4Matrix
from tympan.weights.safetensors import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
LM = load_file(GOLDEN / "model.safetensors")
MIMI = load_file(GOLDEN / "mimi.safetensors")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the golden checkpoint that a test may modify."""
    names = ("config.json", "mimi_config.json", "model.safetensors", "mimi.safetensors", "tokenizer.model")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in names:
        shutil.copy(GOLDEN / name, folder)
    return folder


def edit_config(checkpoint: Path, **changes: object) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | changes))


def read(folder: Path) -> ModelFiles:
    return run(read_model(Folder(folder)))


def save_bfloat16(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Truncate float32 tensors to bfloat16, save them, and return the truncated values."""
    cut = {name: (tensor.view(np.uint32) >> 16).astype(np.uint16) for name, tensor in tensors.items()}
    specs = {
        name: TensorSpec(dtype="bfloat16", shape=list(bits.shape), data_ptr=bits.ctypes.data, data_len=bits.nbytes)
        for name, bits in cut.items()
    }
    serialize_file(specs, path)
    return {name: (bits.astype(np.uint32) << 16).view(np.float32) for name, bits in cut.items()}


def is_matrix(name: str) -> bool:
    return LM[name].ndim == 2 and not name.startswith("extra_heads")


def test_f32_keeps_every_value(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a", "f32")
    files = read(tmp_path / "a")
    assert files.lm.keys() == LM.keys()
    assert all(np.array_equal(files.lm[name], LM[name]) for name in LM)
    assert all(np.array_equal(tensor, MIMI[name]) for name, tensor in files.mimi.items())


def test_q4_0_quantizes_the_matrices_and_nothing_else(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a")
    lm = dict(read(tmp_path / "a").lm)
    for name, tensor in LM.items():
        if is_matrix(name):
            expected = scales.quantize(tensor)
            assert np.array_equal(lm.pop(f"{name}.q4"), expected.blocks), name
            assert np.array_equal(lm.pop(f"{name}.scale"), expected.scale), name
        else:
            assert np.array_equal(lm.pop(name), tensor), name
    assert not lm


def test_q4_0_model_loads(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a")
    files = read(tmp_path / "a")
    weights = LMWeights.from_tensors(files.manifest.lm_config, files.lm)
    assert isinstance(weights.text_linear, Q4Matrix)
    assert isinstance(weights.layers[0].in_proj, Q4Matrix)
    assert weights.text_linear.shape == (256, 128)
    assert {format_of(table) for table in (*weights.embeddings, weights.text_embedding)} == {"q4"}


@pytest.mark.parametrize(("format", "matrices"), [("q4_0", "q4"), ("f32", "f32")])
def test_embeddings_with_their_own_format(tmp_path: Path, format: Format, matrices: str) -> None:
    quantize(GOLDEN, tmp_path / "a", format, embeddings="q8")
    files = read(tmp_path / "a")
    weights = LMWeights.from_tensors(files.manifest.lm_config, files.lm)
    tables = {f"emb.{k}.weight": table for k, table in enumerate(weights.embeddings)}
    for name, table in (tables | {"text_emb.weight": weights.text_embedding}).items():
        assert format_of(table) == "q8"
        assert np.array_equal(dense(table), q8.quantize(LM[name]).dequantize()), name
    assert {format_of(matrix) for matrix in (weights.text_linear, weights.layers[0].in_proj)} == {matrices}


def test_q8_tables_equal_their_dequantized_values(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a", embeddings="q8")
    files = read(tmp_path / "a")
    config = files.manifest.lm_config
    weights = LMWeights.from_tensors(config, files.lm)
    tables = tuple(dense(table) for table in weights.embeddings)
    dequantized = replace(weights, embeddings=tables, text_embedding=dense(weights.text_embedding))
    codes = np.random.default_rng(3).integers(0, config.card, (5, config.n_codebooks)).astype(np.int32)
    logits = []
    for reference in (Reference(config, weights), Reference(config, dequantized)):
        state = reference.new_state()
        steps = [reference.step(state, frame, want_logits=True).step for frame in codes]
        logits.append(np.stack([step.logits for step in steps if step.logits is not None]))
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-5)


def test_bfloat16_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    cut = save_bfloat16(LM, checkpoint / "model.safetensors")
    quantize(checkpoint, tmp_path / "a", "f32")
    lm = read(tmp_path / "a").lm
    assert all(np.array_equal(lm[name], cut[name]) for name in cut)


def test_mimi_in_float16_is_unchanged(checkpoint: Path, tmp_path: Path) -> None:
    halves = {name: tensor.astype(np.float16) if "codebook" not in name else tensor for name, tensor in MIMI.items()}
    save_file(halves, checkpoint / "mimi.safetensors")
    quantize(checkpoint, tmp_path / "a")
    for name, tensor in read(tmp_path / "a").mimi.items():
        assert tensor.dtype == halves[name].dtype
        assert np.array_equal(tensor, halves[name])


def test_mimi_rounded_to_float16_except_codebooks(checkpoint: Path, tmp_path: Path) -> None:
    quantize(checkpoint, tmp_path / "a", mimi_format="f16")
    for name, tensor in read(tmp_path / "a").mimi.items():
        assert tensor.dtype == (np.float32 if "_codebook." in name else np.float16)
        assert np.array_equal(tensor, MIMI[name].astype(tensor.dtype))
    name = "encoder.model.0.conv.conv.bias"
    save_file(MIMI | {name: MIMI[name] + np.float32(1e5)}, checkpoint / "mimi.safetensors")
    with pytest.raises(BadModel, match=f"{name} holds a value outside the range of float16"):
        quantize(checkpoint, tmp_path / "a", mimi_format="f16")


def test_sharded_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    weight_map = {name: f"model-0000{1 + i % 3}-of-00003.safetensors" for i, name in enumerate(LM)}
    for shard in set(weight_map.values()):
        save_file({name: LM[name] for name in LM if weight_map[name] == shard}, checkpoint / shard)
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    quantize(checkpoint, tmp_path / "a", "f32")
    assert read(tmp_path / "a").lm.keys() == LM.keys()


def test_mimi_config_defaults_to_the_full_size(checkpoint: Path) -> None:
    edit_config(checkpoint, mimi_config_name=None)
    mimi = Checkpoint.open(checkpoint).mimi_config
    assert (mimi.n_filters, mimi.transformer.d, mimi.transformer.n_layers, mimi.n_bins) == (64, 512, 8, 2048)


def test_manifest_has_the_given_metadata(tmp_path: Path) -> None:
    quantize(GOLDEN, tmp_path / "a", info=ModelInfo(title="Random", languages=("en",), licence="none", notes="useless"))
    manifest = read(tmp_path / "a").manifest
    assert (manifest.name, manifest.title, manifest.languages) == ("a", "Random", ("en",))
    assert (manifest.licence, manifest.source, manifest.notes) == ("none", "a", "useless")


def test_shards_are_limited_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_bytes = 100_000
    monkeypatch.setattr("tympan.quantize.shards.SHARD_BYTES", limit_bytes)
    tensors: dict[str, Tensor] = {f"layer.{i}.weight": np.full((i, 100), i, np.float32) for i in range(1, 80)}
    tensors["large"] = np.zeros(2 * limit_bytes, np.uint8)
    tensors["last"] = np.zeros(1, np.uint8)
    files = write_shards(tmp_path, "lm", tensors.items())
    assert [file.path for file in files] == [f"lm-{i:05}.safetensors" for i in range(1, len(files) + 1)]
    restored: dict[str, Tensor] = {}
    for file in files:
        shard = load_file(tmp_path / file.path)
        assert (tmp_path / file.path).stat().st_size == file.n_bytes
        assert file.n_bytes <= limit_bytes or list(shard) == ["large"]
        restored |= shard
    assert all(np.array_equal(restored[name], tensor) for name, tensor in tensors.items())
    assert SHARD_BYTES == 64 * 1024 * 1024


def test_model_directory_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    dest = tmp_path / "a"
    quantize(checkpoint, dest, "f32")
    (dest / "lm-00002.safetensors").write_bytes(b"left over")
    (dest / "README.md").write_text("by hand")
    quantize(checkpoint, dest, "q4_0")
    present = sorted(path.name for path in dest.iterdir())
    assert present == ["README.md", "lm-00001.safetensors", "mimi-00001.safetensors", "model.json", "tokenizer.model"]
    assert "text_linear.weight.q4" in read(dest).lm


def test_folder_with_other_files_is_rejected(checkpoint: Path, tmp_path: Path) -> None:
    dest = tmp_path / "holiday"
    dest.mkdir()
    (dest / "photo.jpg").write_bytes(b"sea")
    with pytest.raises(BadOption, match="holiday"):
        quantize(checkpoint, dest)
    with pytest.raises(BadOption):
        quantize(checkpoint, dest / "photo.jpg")
    assert [path.name for path in dest.iterdir()] == ["photo.jpg"]


def test_failure_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    dest = tmp_path / "models" / "a"
    quantize(checkpoint, dest)
    before = {path.name: path.read_bytes() for path in dest.iterdir()}
    broken = LM | {"out_norm.alpha": np.full_like(LM["out_norm.alpha"], np.nan)}
    save_file(broken, checkpoint / "model.safetensors")
    with pytest.raises(BadModel, match=r"out_norm\.alpha holds a value that is not finite"):
        quantize(checkpoint, dest)
    assert {path.name: path.read_bytes() for path in dest.iterdir()} == before
    assert [path.name for path in dest.parent.iterdir()] == ["a"]


def without(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {other: tensor for other, tensor in tensors.items() if other != name}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (without(LM, "emb.3.weight"), r"emb\.3\.weight is missing"),
        (LM | {"emb.3.weight": LM["emb.3.weight"][:-1].copy()}, r"emb\.3\.weight has shape \(128, 128\)"),
        (LM | {"depformer.layers.0.weight": LM["emb.0.weight"]}, "not belong to a speech-to-text transformer"),
        (LM | {"emb.3.weight": LM["emb.3.weight"] * np.float32(1e9)}, r"emb\.3\.weight cannot be quantized"),
    ],
    ids=["missing", "shape", "unknown", "too large"],
)
def test_invalid_tensor_is_named(checkpoint: Path, tmp_path: Path, tensors: dict[str, Tensor], reason: str) -> None:
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(BadModel, match=reason):
        quantize(checkpoint, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["config.json", "mimi_config.json", "model.safetensors", "mimi.safetensors"])
def test_damaged_file_is_named(checkpoint: Path, tmp_path: Path, name: str) -> None:
    (checkpoint / name).write_bytes(b"{nothing")
    with pytest.raises(BadModel, match=name):
        quantize(checkpoint, tmp_path / "a")
    (checkpoint / name).write_bytes(b"")
    with pytest.raises(BadModel, match=name):
        quantize(checkpoint, tmp_path / "a")
    (checkpoint / name).unlink()
    with pytest.raises(BadModel, match=name):
        quantize(checkpoint, tmp_path / "a")
