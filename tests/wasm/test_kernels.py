"""Every kernel of Mimi against its numpy definition, at sizes that are not multiples of a vector or a tile."""

from __future__ import annotations

import numpy as np
import pytest

from tests.wasm.conftest import Call
from tympan.config import TransformerConfig
from tympan.mimi.activations import activate, elu
from tympan.mimi.kernels import PANEL, Activation
from tympan.mimi.linear import INT16_LIMIT, Linear, Precision
from tympan.mimi.quantizer import ResidualQuantizer
from tympan.mimi.transformer import KVCache, LayerWeights, attention, layer_norm, step_layer
from tympan.rope import Rotation

SIZES = [(1, 1, 1), (1, 5, 7), (2, 16, 33), (3, 8, 4), (4, 9, 64), (5, 24, 3), (6, 40, 10), (7, 33, 100), (64, 49, 21)]


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_product(call: Call, rng: np.random.Generator, m: int, n: int, k: int) -> None:
    x, weight = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)
    y = call("kernels.product(x, kernels.pack(w))", x=x, w=weight)
    np.testing.assert_allclose(y, x @ weight.T, rtol=0, atol=1e-5 * np.sqrt(k))


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_product_of_int16_weights(call: Call, rng: np.random.Generator, m: int, n: int, k: int) -> None:
    x, weight = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)
    weight[0] *= 1e6  # each row has its own scale
    y = call("kernels.product(x, kernels.pack(w, int16=True))", x=x, w=weight)
    wanted, magnitude = Linear(weight, precision=Precision.INT16)(x), np.abs(weight).max(axis=1)
    np.testing.assert_allclose(y / magnitude, wanted / magnitude, rtol=0, atol=1e-5 * np.sqrt(k))


@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("int16", [False, True])
def test_product_with_bias_residual_and_activation(
    call: Call, rng: np.random.Generator, activation: Activation, int16: bool
) -> None:
    m, n, k = 6, 11, 5
    x, weight = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)
    bias, residual = rng.standard_normal(n, np.float32), rng.standard_normal((m, n), np.float32)
    y = call(
        "kernels.product(x, kernels.pack(w, bias, int16=int16), residual, activation)",
        x=x, w=weight, bias=bias, residual=residual, int16=int16, activation=int(activation),
    )  # fmt: skip
    np.testing.assert_allclose(y, activate(x @ weight.T + bias + residual, activation), atol=1e-3 if int16 else 1e-5)


@pytest.mark.parametrize(("kernel_size", "stride", "n_channels"), [(7, 1, 1), (8, 4, 3), (3, 1, 5), (4, 2, 2)])
def test_product_of_overlapping_windows(
    call: Call, rng: np.random.Generator, kernel_size: int, stride: int, n_channels: int
) -> None:
    n_windows, width = 9, kernel_size * n_channels
    samples = rng.standard_normal((stride * (n_windows - 1) + kernel_size, n_channels), np.float32)
    weight = rng.standard_normal((10, width), np.float32)
    y = call(
        "kernels.product(np.ndarray((n, w.shape[1]), np.float32, x, strides=(4 * step, 4)),"
        " kernels.pack(w))",
        x=samples, w=weight, n=n_windows, step=stride * n_channels,
    )  # fmt: skip
    wanted = [samples[stride * i : stride * i + kernel_size].reshape(-1) @ weight.T for i in range(n_windows)]
    np.testing.assert_allclose(y, wanted, atol=1e-4)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (16, 3), (29, 10)])
def test_pack(call: Call, rng: np.random.Generator, n: int, k: int) -> None:
    weight = rng.standard_normal((n, k), np.float32)
    weight[n // 2] = 0
    padded = np.zeros((-(-n // PANEL) * PANEL, k), np.float32)
    padded[:n] = weight
    plain = call("kernels.pack(w).weights", w=weight)
    np.testing.assert_array_equal(plain, padded.reshape(-1, PANEL, k).swapaxes(1, 2))

    scale = np.abs(weight).max(axis=1) / INT16_LIMIT
    rounded, row_scale = call("(lambda p: (p.weights, p.scale))(kernels.pack(w, int16=True))", w=weight)
    np.testing.assert_array_equal(row_scale, scale)
    padded[:n] = np.rint(weight / np.where(scale > 0, scale, 1)[:, None])
    np.testing.assert_array_equal(rounded, padded.reshape(-1, PANEL, k).swapaxes(1, 2))
    assert n == 1 or np.abs(rounded).max() == INT16_LIMIT


@pytest.mark.parametrize("magnitude", [1e-45, 1e-38, 1e30])
def test_extreme_weights_do_not_overflow_or_vanish(call: Call, magnitude: float) -> None:
    weight = np.full((3, 4), magnitude, np.float32)
    y = call(
        "kernels.product(x, kernels.pack(w, int16=True))",
        x=np.ones((2, 4), np.float32), w=weight,
    )  # fmt: skip
    np.testing.assert_allclose(y, 4 * magnitude if magnitude > 1e-30 else 0, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("n", [1, 3, 4, 1001])
def test_elu(call: Call, rng: np.random.Generator, n: int) -> None:
    x = np.linspace(-100, 100, n, dtype=np.float32)
    np.testing.assert_allclose(call("kernels.elu(x)", x=x), elu(x), rtol=1e-6, atol=2e-7)
    extremes = np.array([-3e38, 3e38], np.float32)
    np.testing.assert_array_equal(call("kernels.elu(x)", x=extremes), [-1, extremes[1]])


def test_gelu_far_from_zero(call: Call) -> None:
    x = np.array([[-1e30], [-50], [-5], [-1e-30], [0], [1e-30], [5], [50], [1e30]], np.float32)
    y = call("kernels.product(x, kernels.pack(w), None, Activation.GELU)", x=x, w=np.eye(1, dtype="f4"))
    np.testing.assert_allclose(y, activate(x, Activation.GELU), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("m", "d"), [(1, 1), (2, 512), (3, 7)])
def test_layer_norm(call: Call, rng: np.random.Generator, m: int, d: int) -> None:
    x, (weight, bias) = rng.standard_normal((m, d), np.float32) + 3, rng.standard_normal((2, d), np.float32)
    y = call("kernels.layer_norm(x, weight, bias)", x=x, weight=weight, bias=bias)
    np.testing.assert_allclose(y, layer_norm(x, weight, bias), atol=2e-5)


def test_layer_norm_of_a_constant_input_is_the_bias(call: Call) -> None:
    x, bias = np.full((2, 6), 7, np.float32), np.arange(6, dtype=np.float32)
    np.testing.assert_allclose(call("kernels.layer_norm(x, b, b)", x=x, b=bias), [bias, bias], atol=1e-5)


@pytest.mark.parametrize(("m", "n", "n_heads", "width"), [(1, 1, 1, 2), (2, 250, 8, 64), (3, 7, 5, 6), (2, 40, 4, 16)])
def test_attention(call: Call, rng: np.random.Generator, m: int, n: int, n_heads: int, width: int) -> None:
    q = rng.standard_normal((m, n_heads, width), np.float32)
    keys, values = rng.standard_normal((2, n, n_heads, width), np.float32)
    visible = rng.random((m, n)) < 0.5
    visible[:, rng.integers(n)] = True
    keys[~visible.any(axis=0)] = values[~visible.any(axis=0)] = 1e30  # must not be read
    out = call("kernels.attention(q, keys, values, visible)", q=q, keys=keys, values=values, visible=visible)
    keys[~visible.any(axis=0)] = values[~visible.any(axis=0)] = 0
    np.testing.assert_allclose(out, attention(q, keys, values, visible), atol=1e-5)


def test_attention_with_huge_scores(call: Call) -> None:
    """Softmax of scores far apart selects the largest without overflow."""
    q, keys = np.full((1, 1, 4), 100, np.float32), np.array([[[-100] * 4], [[100] * 4], [[0] * 4]], np.float32)
    values, visible = np.eye(3, 4, dtype=np.float32)[:, None], np.ones((1, 3), bool)
    out = call("kernels.attention(q, keys, values, visible)", q=q, keys=keys, values=values, visible=visible)
    np.testing.assert_allclose(out, values[1], atol=1e-6)


@pytest.mark.parametrize(("m", "n_heads", "width"), [(1, 1, 2), (2, 8, 64), (3, 5, 6)])
def test_rotate(call: Call, rng: np.random.Generator, m: int, n_heads: int, width: int) -> None:
    qkv, rotation = rng.standard_normal((m, 3, n_heads, width), np.float32), Rotation.at(1_000_003, m, width, 10_000)
    rotated = call("kernels.rotate(qkv[:, 1], cos, sin) or qkv", qkv=qkv, cos=rotation.cos, sin=rotation.sin)
    qkv[:, 1] = rotation.apply(qkv[:, 1])
    np.testing.assert_allclose(rotated, qkv, atol=1e-6)


LAYER = """
(lambda pointers: [kernels.layer(x, pointers, keys, values, cos, sin, slots, visible), x, keys, values][1:])(
    LayerPointers((n1w, n1b), *[kernels.pack(w, int16=int16) for w in (in_proj, out_proj)],
                  (n2w, n2b), *[kernels.pack(w, int16=int16) for w in (linear1, linear2)]))
"""


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize(
    ("n_frames", "m", "context", "n_heads", "width", "hidden"),
    [(1, 1, 1, 1, 2, 1), (1, 2, 250, 8, 64, 40), (3, 2, 9, 3, 6, 33), (2, 1, 5, 5, 4, 17)],
)
def test_layer(
    call: Call,
    rng: np.random.Generator,
    n_frames: int,
    m: int,
    context: int,
    n_heads: int,
    width: int,
    hidden: int,
    precision: Precision,
) -> None:
    d, n = n_heads * width, n_frames * m
    shapes = {"in_proj": (3 * d, d), "out_proj": (d, d), "linear1": (hidden, d), "linear2": (d, hidden)}
    matrices = {
        name: rng.standard_normal(shape, np.float32) / np.float32(shape[1] ** 0.5) for name, shape in shapes.items()
    }
    norms = {name: rng.standard_normal(d, np.float32) for name in ("n1w", "n1b", "n2w", "n2b")}
    x, (keys, values) = (
        rng.standard_normal((n, d), np.float32),
        rng.standard_normal((2, context, n_heads, width), np.float32),
    )
    rotation = Rotation.at(77, n, width, 10_000)
    slots = (np.arange(77, 77 + n, dtype=np.int32) % context).reshape(n_frames, m)
    visible = rng.random((n_frames, m, context)) < 0.7
    np.put_along_axis(visible, slots[:, :, None].astype(np.int64), True, axis=2)
    y = call(
        LAYER, x=x, keys=keys, values=values, cos=rotation.cos, sin=rotation.sin, slots=slots, visible=visible,
        int16=precision is Precision.INT16, **matrices, **norms,
    )  # fmt: skip

    weights = LayerWeights(
        norm1=(norms["n1w"], norms["n1b"]),
        norm2=(norms["n2w"], norms["n2b"]),
        **{name: Linear(matrix, precision=precision) for name, matrix in matrices.items()},
    )
    config = TransformerConfig(d=d, n_layers=1, n_heads=n_heads, context=context, max_period=10_000)
    wanted = step_layer(config, weights, KVCache(keys, values), rotation, slots, visible, x)
    for found, right in zip(y, (wanted, keys, values), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("m", "n_codebooks", "n", "width"), [(1, 1, 1, 1), (2, 3, 50, 19), (5, 4, 128, 32), (1, 2, 300, 600)]
)
def test_residual_codes(call: Call, rng: np.random.Generator, m: int, n_codebooks: int, n: int, width: int) -> None:
    x, centroids = rng.standard_normal((m, width), np.float32), rng.standard_normal((n_codebooks, n, width), np.float32)
    _search_agrees(call, x, centroids)


@pytest.mark.parametrize("spread", [0, 1e-6, 1e-3, 1e30])
def test_codes_of_centroids_that_int8_cannot_distinguish(call: Call, rng: np.random.Generator, spread: float) -> None:
    """The search starts in int8, where most of these scores are equal; the float32 scores must decide."""
    x = rng.standard_normal((8, 16), np.float32)
    centroids = np.float32(1 if spread < 1 else 0) + np.float32(spread) * rng.standard_normal((2, 64, 16), np.float32)
    if spread == 1e30:
        centroids, x = centroids * np.float32(1e-15), x * np.float32(1e15)
    codes = call("kernels.residual_codes(x, kernels.round_codebooks(c, h))", x=x, c=centroids, h=_half_norms(centroids))
    scores = x.astype(np.float64) @ centroids[0].astype(np.float64).T - _half_norms(centroids)[0]
    best, chosen = scores.max(axis=1), scores[np.arange(8), codes[:, 0]]
    assert (best - chosen <= 1e-5 * np.abs(scores).max(axis=1)).all(), "only float32 rounding may change the code"
    if spread == 0:
        np.testing.assert_array_equal(codes, 0, "the first of equal centroids is chosen")


def test_codes_of_extreme_vectors(call: Call, rng: np.random.Generator) -> None:
    x = np.stack([np.zeros(8), np.full(8, 1e-40), np.full(8, 1e15), np.eye(8)[0]]).astype(np.float32)
    _search_agrees(
        call, x, np.concatenate([rng.standard_normal((1, 30, 8), np.float32), np.zeros((1, 30, 8), np.float32)])
    )


def _half_norms(centroids: np.ndarray) -> np.ndarray:
    return np.float32(0.5) * np.square(centroids).sum(axis=-1)


def _search_agrees(call: Call, x: np.ndarray, centroids: np.ndarray) -> None:
    width = x.shape[1]
    wanted = ResidualQuantizer(Linear(np.eye(width, dtype=np.float32)), centroids).encode(x)
    codes = call("kernels.residual_codes(x, kernels.round_codebooks(c, h))", x=x, c=centroids, h=_half_norms(centroids))
    np.testing.assert_array_equal(codes, wanted)
