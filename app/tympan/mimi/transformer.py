"""Mimi's transformer at 25 Hz: pre-norm layers with learnt layer scales, over a ring of keys and values.

Source: kyutai-labs/moshi@e6a55d2 moshi/modules/transformer.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from tympan.arrays import Bool, Float32, linear, softmax
from tympan.config import TransformerConfig
from tympan.errors import BadModel
from tympan.mimi.erf import erf
from tympan.rope import Rotation
from tympan.weights.tensors import Tensors

NORM_EPSILON = np.float32(1e-5)
NEVER = -1  # the position of a ring slot that holds nothing yet


@dataclass(frozen=True)
class LayerWeights:
    norm1: tuple[Float32, Float32]  # weight and bias, each (d,)
    in_proj: Float32  # (3d, d): rows of Q, then K, then V
    out_proj: Float32  # (d, d)
    scale1: Float32  # (d,)
    norm2: tuple[Float32, Float32]
    linear1: Float32  # (h, d)
    linear2: Float32  # (d, h)
    scale2: Float32

    @classmethod
    def take(cls, d: int, hidden: int, tensors: Tensors, layer: str) -> LayerWeights:
        """Read one layer; `layer` is its official prefix. Raises BadModel."""
        attention = f"{layer}.self_attn"
        return cls(
            norm1=(tensors.dense(f"{layer}.norm1.weight", d), tensors.dense(f"{layer}.norm1.bias", d)),
            in_proj=tensors.dense(f"{attention}.in_proj_weight", 3 * d, d, alias=f"{attention}.in_projs.0.weight"),
            out_proj=tensors.dense(f"{attention}.out_proj.weight", d, d, alias=f"{attention}.out_projs.0.weight"),
            scale1=tensors.dense(f"{layer}.layer_scale_1.scale", d),
            norm2=(tensors.dense(f"{layer}.norm2.weight", d), tensors.dense(f"{layer}.norm2.bias", d)),
            linear1=tensors.dense(f"{layer}.linear1.weight", hidden, d),
            linear2=tensors.dense(f"{layer}.linear2.weight", d, hidden),
            scale2=tensors.dense(f"{layer}.layer_scale_2.scale", d),
        )


@dataclass
class LayerState:
    """A ring of `context` rotated keys and values, each float32 (S, H, D)."""

    keys: Float32
    values: Float32


@dataclass
class TransformerState:
    layers: tuple[LayerState, ...]
    positions: np.ndarray[tuple[int], np.dtype[np.int64]]  # (S,): what each slot holds, NEVER at first
    position: int = 0  # the next position, counted from the start of the stream

    @classmethod
    def new(cls, config: TransformerConfig) -> TransformerState:
        ring = (config.context, config.n_heads, config.head_width)
        layers = (LayerState(np.zeros(ring, np.float32), np.zeros(ring, np.float32)) for _ in range(config.n_layers))
        return cls(tuple(layers), np.full(config.context, NEVER))


def transformer_step(
    config: TransformerConfig, layers: tuple[LayerWeights, ...], state: TransformerState, x: Float32
) -> Float32:
    """The next T positions of a stream: float32 (T, d) -> (T, d).

    All T keys are written before the first query looks: once the ring is full, the earlier queries of a call have
    already lost their oldest keys. The official stream does so too, which is why a frame must be a call.
    """
    n = len(x)
    assert n <= config.context, (n, config.context)
    queries = np.arange(state.position, state.position + n)
    slots = queries % config.context
    state.positions[slots] = queries
    visible = (state.positions != NEVER) & (state.positions <= queries[:, None])
    rotation = Rotation.at(state.position, n, config.head_width, config.max_period)
    state.position += n
    for weights, ring in zip(layers, state.layers, strict=True):
        q, k, v = _queries_keys_values(config, weights, rotation, x)
        ring.keys[slots], ring.values[slots] = k, v
        x = _layer(weights, x, _attention(q, ring.keys, ring.values, visible))
    return x


def transformer(config: TransformerConfig, layers: tuple[LayerWeights, ...], x: Float32) -> Float32:
    """A whole clip at once: float32 (T, d) -> (T, d). Every query sees itself and `context - 1` keys before it."""
    n = len(x)
    rotation = Rotation.at(0, n, config.head_width, config.max_period)
    for weights in layers:
        q, k, v = _queries_keys_values(config, weights, rotation, x)
        attended = np.empty_like(x)
        for start in range(0, n, config.context):  # blocks of queries keep the scores within 2 S * S
            stop, oldest = min(n, start + config.context), max(0, start - config.context + 1)
            queries, keys = np.arange(start, stop)[:, None], np.arange(oldest, stop)
            visible = (keys <= queries) & (keys > queries - config.context)
            attended[start:stop] = _attention(q[start:stop], k[oldest:stop], v[oldest:stop], visible)
        x = _layer(weights, x, attended)
    return x


def take_layers(config: TransformerConfig, tensors: Tensors, hidden: int) -> tuple[LayerWeights, ...]:
    """Read `encoder_transformer.transformer.layers.N`. Raises BadModel."""
    if hidden < 1:
        raise BadModel(f"a feed-forward of {hidden} channels")
    prefix = "encoder_transformer.transformer.layers"
    return tuple(LayerWeights.take(config.d, hidden, tensors, f"{prefix}.{i}") for i in range(config.n_layers))


def _queries_keys_values(
    config: TransformerConfig, weights: LayerWeights, rotation: Rotation, x: Float32
) -> tuple[Float32, Float32, Float32]:
    """Project x (T, d) into rotated q and k and plain v, each (T, H, D)."""
    qkv = linear(layer_norm(x, *weights.norm1), weights.in_proj)
    q, k, v = qkv.reshape(len(x), 3, config.n_heads, config.head_width).swapaxes(0, 1)
    return rotation.apply(q), rotation.apply(k), v


def _attention(q: Float32, keys: Float32, values: Float32, visible: Bool) -> Float32:
    """Attention of q (T, H, D) over keys and values (N, H, D) where visible (T, N): float32 (T, H * D)."""
    scores = q.transpose(1, 0, 2) @ keys.transpose(1, 2, 0)  # (H, T, N)
    scores *= np.float32(1 / sqrt(q.shape[-1]))
    weights = softmax(np.where(visible, scores, np.float32(-1e9)))
    return (weights @ values.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(len(q), -1)


def _layer(weights: LayerWeights, x: Float32, attended: Float32) -> Float32:
    """The rest of a layer after its attention: float32 (T, d) -> (T, d)."""
    x = x + weights.scale1 * linear(attended, weights.out_proj)
    hidden = gelu(linear(layer_norm(x, *weights.norm2), weights.linear1))
    return x + weights.scale2 * linear(hidden, weights.linear2)


def layer_norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias over the last axis: float32, same shape."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias


def gelu(x: Float32) -> Float32:
    """The exact GELU, x * (1 + erf(x / sqrt 2)) / 2: float32, same shape."""
    return np.float32(0.5) * x * (1 + erf(x * np.float32(sqrt(0.5))))
