"""Loading a model directory; errors name the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.awaiting import run
from tympan.errors import BadModel, CorruptFile, UnknownModel
from tympan.quantize.convert import quantize
from tympan.quantize.shards import describe
from tympan.weights.mimi_names import encoder_names
from tympan.weights.model import Folder, ModelFiles, read_model

GOLDEN = Path(__file__).parents[1] / "golden" / "a"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "a"
    quantize(GOLDEN, folder, "f32")
    return folder


@pytest.fixture
def model(converted: Path, tmp_path: Path) -> Path:
    """A copy that a test may modify."""
    return Path(shutil.copytree(converted, tmp_path / "a"))


def read(folder: Path) -> ModelFiles:
    return run(read_model(Folder(folder)))


def edit_manifest(model: Path, edit: Callable[[list[dict[str, object]]], None]) -> None:
    manifest = json.loads((model / "model.json").read_text())
    edit(manifest["files"])
    (model / "model.json").write_text(json.dumps(manifest))


def test_all_tensors_are_loaded(converted: Path) -> None:
    files = read(converted)
    official = load_file(GOLDEN / "model.safetensors")
    assert files.lm.keys() == official.keys()
    assert all(np.array_equal(files.lm[name], official[name]) for name in official)
    assert list(files.mimi) == list(encoder_names(files.manifest.mimi_config))
    assert files.tokenizer == (GOLDEN / "tokenizer.model").read_bytes()


def test_progress_reaches_the_total(converted: Path) -> None:
    reports: list[tuple[str, int]] = []
    files = run(read_model(Folder(converted), lambda progress: reports.append((progress.phase, progress.done_bytes))))
    assert reports[0] == ("download", 0)
    assert reports[-2:] == [("download", files.manifest.n_bytes), ("prepare", 0)]


def test_tensors_are_read_on_access(converted: Path) -> None:
    read_bytes: list[int] = []
    files = run(read_model(Folder(converted), lambda progress: read_bytes.append(progress.done_bytes)))
    before = len(read_bytes)
    assert "emb.0.weight" in files.lm
    assert len(list(files.lm)) == len(files.lm)
    assert len(read_bytes) == before


@pytest.mark.parametrize("name", ["lm-00001.safetensors", "mimi-00001.safetensors", "tokenizer.model"])
def test_changed_byte_is_detected(model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    with pytest.raises(CorruptFile, match=rf"{name} is damaged: its sha256"):
        read(model)


def test_truncated_file_is_detected(model: Path) -> None:
    content = (model / "lm-00001.safetensors").read_bytes()
    (model / "lm-00001.safetensors").write_bytes(content[:-1])
    with pytest.raises(CorruptFile, match=rf"it has {len(content) - 1} bytes, {len(content)} expected"):
        read(model)


def test_missing_file_is_named(model: Path) -> None:
    (model / "tokenizer.model").unlink()
    with pytest.raises(CorruptFile, match=r"tokenizer\.model"):
        read(model)


def test_folder_without_a_manifest_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        read(tmp_path)


def test_tensor_in_two_shards_is_rejected(model: Path) -> None:
    shutil.copy(model / "lm-00001.safetensors", model / "lm-00002.safetensors")
    edit_manifest(model, lambda files: files.append(files[0] | {"path": "lm-00002.safetensors"}))
    with pytest.raises(BadModel, match=r"is in lm-00002\.safetensors and in an earlier file"):
        read(model)


def test_mimi_with_pytorch_names(model: Path) -> None:
    path = model / "mimi-00001.safetensors"
    tensors = load_file(path)
    save_file({name.replace("in_proj_weight", "in_projs.0.weight"): tensors[name] for name in tensors}, path)
    described = describe(path, "mimi")
    edit_manifest(model, lambda files: files[1].update(bytes=described.n_bytes, sha256=described.sha256))
    files = read(model)
    assert list(files.mimi) == list(encoder_names(files.manifest.mimi_config))
