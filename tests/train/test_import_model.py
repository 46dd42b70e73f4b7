"""A shipped model becomes tensors that training can continue from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.import_model import dequantize, read_model
from tympan.weights import q4, q8

DEMO = Path(__file__).parents[2] / "static" / "models" / "demo"


def test_the_sizes_of_the_demo_model_fit_its_tensors() -> None:
    config, mimi, lm = read_model(DEMO)
    layers = [{n.split("layers.")[1].split(".")[0] for n in t if "transformer.layers." in n} for t in (mimi, lm)]
    assert list(map(len, layers)) == [config.mimi_layers, config.lm_layers]
    assert mimi["downsample.conv.conv.conv.weight"].shape == (config.mimi_dim, config.mimi_dim, 4)
    assert lm["text_emb.weight"].shape == (config.text_card + 1, config.lm_dim)
    assert {f"emb.{k}.weight" for k in range(config.codebooks)} <= set(lm)
    assert all(t.dtype == np.float32 for t in (*mimi.values(), *lm.values()))


def test_blocks_become_matrices_and_everything_else_stays() -> None:
    matrix = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    four, eight = q4.quantize(matrix), q8.quantize(matrix)
    plain = {"norm.alpha": matrix[:1], "layer_scale_1.scale": matrix[0]}
    stored = {"a.q4": four.blocks, "a.scale": four.scale, "b.q8": eight.blocks, "b.scale": eight.scale}
    dense = dequantize(stored | plain)
    assert set(dense) == {"a", "b", *plain}
    np.testing.assert_array_equal(dense["a"], four.dequantize())
    np.testing.assert_allclose(dense["b"], matrix, atol=0.02)
    np.testing.assert_array_equal(dense["layer_scale_1.scale"], matrix[0])
