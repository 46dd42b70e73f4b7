"""Mimi's encoder is found under all three naming schemes, with equal tensors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tympan.config import MimiConfig
from tympan.errors import BadModel
from tympan.weights.mimi_names import EncoderTensors, encoder_names
from tympan.weights.safetensors import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "a"
CONFIG = MimiConfig.from_json(json.loads((GOLDEN / "mimi_config.json").read_text()), n_codebooks=8)
OFFICIAL: dict[str, Tensor] = load_file(GOLDEN / "mimi.safetensors")


def to_hf(tensors: dict[str, Tensor], n_heads: int) -> dict[str, Tensor]:
    """Convert a checkpoint to the layout of *transformers*. Source: its convert_mimi_checkpoint_to_pytorch.py."""
    renamed = (
        ("conv.conv.conv", "conv"), ("convtr.convtr.convtr", "conv"), ("conv.conv", "conv"), ("convtr.convtr", "conv"),
        ("quantizer.rvq_first.vq", "quantizer.semantic_residual_vector_quantizer"),
        ("quantizer.rvq_first", "quantizer.semantic_residual_vector_quantizer"),
        ("quantizer.rvq_rest.vq", "quantizer.acoustic_residual_vector_quantizer"),
        ("quantizer.rvq_rest", "quantizer.acoustic_residual_vector_quantizer"),
        ("_codebook", "codebook"), ("_initialized", "initialized"), ("embedding_sum", "embed_sum"),
        ("encoder.model", "encoder.layers"), ("decoder.model", "decoder.layers"),
        ("encoder_transformer.transformer", "encoder_transformer"),
        ("decoder_transformer.transformer", "decoder_transformer"),
        ("linear1", "mlp.fc1"), ("linear2", "mlp.fc2"), ("self_attn.out_proj", "self_attn.o_proj"),
        ("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm"),
        ("layer_scale_1", "self_attn_layer_scale"), ("layer_scale_2", "mlp_layer_scale"),
    )  # fmt: skip
    converted = {}
    for name, tensor in tensors.items():
        for official, hf in renamed:
            name = name.replace(official, hf)
        if not name.endswith("in_proj_weight"):
            converted[name] = tensor
            continue
        parts = dict(zip("qkv", np.split(tensor, 3), strict=True))
        for part in "qk":
            parts[part] = half_split(parts[part], n_heads)
        converted |= {name.replace("in_proj_weight", f"{part}_proj.weight"): parts[part] for part in "qkv"}
    return converted


def half_split(rows: Tensor, n_heads: int) -> Tensor:
    """Within each head, row 2i becomes row i, and row 2i + 1 becomes row D/2 + i."""
    width = len(rows) // n_heads
    order = [head * width + pair for head in range(n_heads) for pair in (*range(0, width, 2), *range(1, width, 2))]
    return rows[order]


def assert_official(tensors: dict[str, Tensor]) -> None:
    assert list(tensors) == list(encoder_names(CONFIG))
    for name, tensor in tensors.items():
        assert np.array_equal(tensor, OFFICIAL[name]), name


def test_official_names() -> None:
    assert_official(dict(EncoderTensors(OFFICIAL, CONFIG)))


def test_decoder_is_left_out() -> None:
    dropped = set(OFFICIAL) - set(encoder_names(CONFIG))
    parts = {name.split(".")[0] for name in dropped}
    assert parts == {"decoder", "decoder_transformer", "upsample", "quantizer"}
    assert all(name.endswith(("_initialized", "output_proj.weight")) for name in dropped if "quantizer" in name)


def test_pytorch_names() -> None:
    renamed = {
        name.replace("in_proj_weight", "in_projs.0.weight").replace("out_proj.", "out_projs.0."): tensor
        for name, tensor in OFFICIAL.items()
    }
    assert renamed.keys() != OFFICIAL.keys()
    assert_official(dict(EncoderTensors(renamed, CONFIG)))


def test_hf_row_order_is_undone() -> None:
    hf = to_hf(OFFICIAL, CONFIG.transformer.n_heads)
    assert "encoder_transformer.layers.1.self_attn.k_proj.weight" in hf
    assert "quantizer.acoustic_residual_vector_quantizer.layers.6.codebook.embed_sum" in hf
    assert not set(hf) & set(encoder_names(CONFIG))
    assert_official(dict(EncoderTensors(hf, CONFIG)))


def test_unused_codebooks_are_left_out() -> None:
    names = list(encoder_names(replace(CONFIG, n_codebooks=3)))
    assert len([name for name in names if name.endswith("embedding_sum")]) == 3


@pytest.mark.parametrize("layout", ["official", "hf"])
def test_missing_tensor_is_named(layout: str) -> None:
    tensors = OFFICIAL if layout == "official" else to_hf(OFFICIAL, CONFIG.transformer.n_heads)
    tensors = {name: tensor for name, tensor in tensors.items() if "downsample" not in name}
    with pytest.raises(BadModel, match="no tensor downsample"):
        dict(EncoderTensors(tensors, CONFIG))


def test_missing_query_projection_of_the_first_layer_is_named() -> None:
    hf = to_hf(OFFICIAL, CONFIG.transformer.n_heads)
    del hf["encoder_transformer.layers.0.self_attn.q_proj.weight"]
    with pytest.raises(BadModel, match=r"no tensor encoder_transformer\.layers\.0\.self_attn\.q_proj\.weight"):
        EncoderTensors(hf, CONFIG)
