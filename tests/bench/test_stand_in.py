"""The stand-in host for `tympan verify`: its random weights, and what it changes in them and in the reference."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bench.random_lm import hidden_width, random_lm
from bench.stand_in import verify
from bench.stand_in.checkpoint import LM_NAME, MODEL, config_json, on_grid, to_bfloat16, write_listing, write_lm
from tests.app.golden import GOLDEN
from tympan.arrays import Int32
from tympan.checkpoint import scales
from tympan.cli.reference import Reference
from tympan.cli.server import serving
from tympan.cli.site import ROOT
from tympan.config import LMConfig
from tympan.lm.weights import LMWeights
from tympan.weights.catalogue import Catalogue, CheckpointModel
from tympan.weights.hub import describe_files
from tympan.weights.q4 import LazyQ4Matrix
from tympan.weights.safetensors import read

CONFIG = json.loads((GOLDEN / "config.json").read_text("utf-8"))


def test_the_config_is_that_of_the_released_model_with_pause_heads() -> None:
    config = LMConfig.from_json(config_json())
    assert (config.transformer.d, config.transformer.n_layers, config.text_card) == (2048, 16, 8000)
    assert (config.n_codebooks, config.n_extra_heads, hidden_width(config_json())) == (32, 4, 5632)


def test_quantizing_the_random_matrices_loses_nothing() -> None:
    matrix = random_lm(LMConfig.from_json(CONFIG), hidden_width(CONFIG)).layers[0].linear_out
    assert isinstance(matrix, LazyQ4Matrix)
    made = on_grid(matrix)
    values = made.dequantize()
    assert np.array_equal((to_bfloat16(values).astype(np.uint32) << 16).view(np.float32), values)
    quantized = scales.quantize(values)
    assert np.array_equal(quantized.blocks, made.blocks)
    assert np.array_equal(quantized.scale, made.scale)


def test_the_transformer_has_the_official_tensors(tmp_path: Path) -> None:
    write_lm(tmp_path / LM_NAME, CONFIG)
    tensors = read((tmp_path / LM_NAME).read_bytes(), LM_NAME)
    assert LMWeights.from_tensors(LMConfig.from_json(CONFIG), tensors).hidden == hidden_width(CONFIG)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        name: tensor.shape for name, tensor in read((GOLDEN / LM_NAME).read_bytes(), LM_NAME).items()
    }


def test_one_weight_is_changed_in_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    write_lm(folder / LM_NAME, CONFIG)
    (folder / verify.DESCRIPTION).write_text("{}")
    (folder / "other").write_text("linked")
    before = read((folder / LM_NAME).read_bytes(), LM_NAME)
    with verify.changed(folder, LM_NAME, verify.change_weight) as copy:
        after = read((copy / LM_NAME).read_bytes(), LM_NAME)
        assert (copy / "other").read_text() == "linked"
    different = {name: np.argwhere(after[name] != before[name]).tolist() for name in before}
    assert {name: where for name, where in different.items() if where} == {verify.WEIGHT: [[verify.ROW, verify.COLUMN]]}
    assert after[verify.WEIGHT][verify.ROW, verify.COLUMN] == verify.VALUE


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the reference files of a made-up recording."""
    folder = tmp_path / "made"
    (folder / "reference").mkdir(parents=True)
    names = {
        "audio": "speech.wav",
        "codes": "mimi_tokens.json",
        "tokens": "text_tokens.json",
        "transcript": "transcript.txt",
    }
    codes = np.arange(20 * 8).reshape(20, 8).tolist()
    contents = {"codes": json.dumps({"tokens": codes}), "tokens": json.dumps({"tokens": [3] * 20})}
    description: dict[str, object] = {"source": "made up"}
    for role, name in names.items():
        (folder / "reference" / name).write_text(content := contents.get(role, role))
        pinned = {"url": f"reference/{name}", "sha256": hashlib.sha256(content.encode()).hexdigest()}
        description |= {role: pinned}
    (folder / verify.DESCRIPTION).write_text(json.dumps(description))
    return folder


def fetched(folder: Path, tmp_path: Path) -> Int32:
    """The codes of the reference that a folder serves."""
    with serving(folder) as url:
        (tmp_path / "described.json").write_text(json.dumps(verify.described(folder, url)))
        return Reference.read(tmp_path / "described.json").fetch(tmp_path / "cache").codes


def test_one_code_is_changed_with_its_hash(made: Path, tmp_path: Path) -> None:
    with verify.changed(made, verify.CODES, verify.change_code) as copy:
        codes = fetched(copy, tmp_path)
    assert np.argwhere(codes != fetched(made, tmp_path)).tolist() == [[verify.FRAME, verify.CODEBOOK]]


def test_one_file_is_changed_without_its_hash(made: Path, tmp_path: Path) -> None:
    with (
        verify.changed(made, verify.TRANSCRIPT, verify.change_file) as copy,
        pytest.raises(Exception, match=r"transcript\.txt is not the pinned file"),
    ):
        fetched(copy, tmp_path)


def test_the_site_takes_the_checkpoint_from_the_stand_in_host(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_bytes((ROOT / "static" / "models" / "catalogue.json").read_bytes())
    verify.set_host(catalogue, "http://localhost:9")
    model = Catalogue.parse(catalogue.read_bytes(), "http://localhost/").find(MODEL)
    assert isinstance(model, CheckpointModel)
    path = tmp_path / model.repository.listing_url.removeprefix("http://localhost:9/")
    write_listing(path, {LM_NAME: (5, "ab" * 32)})
    [file] = describe_files(path.read_bytes(), [(LM_NAME, "lm")])
    assert (file.n_bytes, file.sha256) == (5, "ab" * 32)
