"""Models published as GGUF with Mimi in float16, in files that an independent writer made from the descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tests.app.golden import golden
from tests.app.seed_files import gguf, metadata_of, split, stripped
from tests.app.test_weights_mimi_names import to_hf
from tests.awaiting import run
from tympan.config import LMConfig
from tympan.errors import BadModel
from tympan.lm.reference import Reference
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.quantize.inspect import inspect
from tympan.quantize.shards import describe
from tympan.weights.manifest import Manifest
from tympan.weights.matrix import dense
from tympan.weights.model import Folder, ModelFiles, read_model

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
CONFIG = json.loads((GOLDEN / "config.json").read_text()) | {"extra_heads_num_heads": 0}
MIMI_CONFIG = json.loads((GOLDEN / "mimi_config.json").read_text())
LM = load_file(GOLDEN / "model.safetensors")
HIDDEN = LM["transformer.layers.0.gating.linear_out.weight"].shape[1]


def write_model(folder: Path, lm: dict[str, bytes], **changes: Any) -> Path:
    """A model directory with these transformer files, Mimi in the layout of *transformers*, and the tokenizer."""
    folder.mkdir(exist_ok=True)
    mimi = stripped(to_hf(load_file(GOLDEN / "mimi.safetensors"), MIMI_CONFIG["transformer"]["num_heads"]))
    contents = {path: ("lm", content) for path, content in lm.items()}
    contents["mimi-encoder-f16.safetensors"] = ("mimi", save(mimi))
    contents["tokenizer.model"] = ("tokenizer", (GOLDEN / "tokenizer.model").read_bytes())
    described = []
    for path, (role, content) in contents.items():
        (folder / path).write_bytes(content)
        described.append(describe(folder / path, role))  # type: ignore[arg-type]
    manifest = Manifest(name="seed", config_json=CONFIG | changes, mimi_config_json=MIMI_CONFIG, files=tuple(described))
    (folder / "model.json").write_text(manifest.serialize())
    return folder


def read(folder: Path) -> ModelFiles:
    return run(read_model(Folder(folder)))


@pytest.fixture(scope="module")
def published() -> tuple[bytes, dict[str, Any]]:
    return gguf(LM, metadata_of(CONFIG, HIDDEN))


@pytest.mark.parametrize("n_bytes", [1 << 30, 100_000, 3_000], ids=["whole", "split", "split inside its header"])
def test_published_files_give_the_values_and_codes_they_stand_for(
    published: tuple[bytes, dict[str, Any]], tmp_path: Path, n_bytes: int
) -> None:
    content, values = published
    parts = split(content, n_bytes)
    files = read(
        write_model(tmp_path / "seed", dict(reversed(parts.items())) if len(parts) > 1 else {"lm.gguf": content})
    )
    weights = LMWeights.from_tensors(files.manifest.lm_config, files.lm)
    assert np.array_equal(dense(weights.text_embedding), values["text_emb.weight"])
    assert np.array_equal(dense(weights.layers[2].linear_out), values["transformer.layers.2.gating.linear_out.weight"])
    assert np.array_equal(weights.out_norm, values["out_norm.alpha"].ravel())
    config = files.manifest.mimi_config
    mimi = Mimi(config, MimiWeights.from_tensors(config, files.mimi))
    codes = mimi.encode(mimi.new_state(), golden().frames[:10])
    official = golden().expected["stream_codes"].T[:10]
    assert np.mean(codes != official) < 0.02, "only where float16 moves a near tie"
    if n_bytes == 100_000:
        lines = list(inspect(tmp_path / "seed"))
        assert any(line.startswith("shard-ab  lm, 100,000 bytes") for line in lines)
        assert any(line.split()[:2] == ["text_linear.weight", "Q4_0"] for line in lines)


def test_tokens_equal_those_of_the_dequantized_weights(published: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    content, values = published
    files = read(write_model(tmp_path / "seed", {"lm.gguf": content}))
    config = LMConfig.from_json(CONFIG)
    tokens = []
    for tensors in (files.lm, values):
        reference = Reference(config, LMWeights.from_tensors(config, tensors))
        state = reference.new_state()
        tokens.append([reference.step(state, frame).step.token for frame in golden().expected["stream_codes"].T[:40]])
    assert tokens[0] == tokens[1]
    assert len(set(tokens[0])) > 5


def test_missing_part_is_named(published: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    parts = split(published[0], 100_000)
    del parts["shard-ac"]
    with pytest.raises(BadModel, match="the part shard-ac is missing"):
        read(write_model(tmp_path / "seed", parts))


def test_suffix_without_a_first_part_is_a_plain_name(published: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    assert "out_norm.alpha" in read(write_model(tmp_path / "seed", {"stt-fr": published[0]})).lm


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("stt.block_count", 4, r"lm\.gguf says stt\.block_count = 4, the config says 3"),
        ("stt.embedding_length", 64, r"lm\.gguf says stt\.embedding_length = 64, the config says 128"),
        ("stt.attention.head_count", 8, r"says stt\.attention\.head_count = 8, the config says 4"),
        ("stt.rope.freq_base", 10_000.0, r"says stt\.rope\.freq_base = 10000, the config says 100000"),
    ],
)
def test_metadata_must_match_the_config(tmp_path: Path, key: str, value: float, reason: str) -> None:
    content, _ = gguf({"out_norm.alpha": LM["out_norm.alpha"]}, metadata_of(CONFIG, HIDDEN) | {key: value})
    with pytest.raises(BadModel, match=reason):
        read(write_model(tmp_path / "seed", {"lm.gguf": content}))


def test_layers_beyond_the_config_are_not_dropped(published: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    content, _ = gguf(LM, {})
    files = read(write_model(tmp_path / "seed", {"lm.gguf": content}, num_layers=2))
    with pytest.raises(BadModel, match=r"no place for the tensor transformer\.layers\.2"):
        LMWeights.from_tensors(files.manifest.lm_config, files.lm)
