"""Mimi's transformer at 25 Hz: pre-norm layers with learnt layer scales, over a ring of keys and values.

Source: kyutai-labs/moshi@e6a55d2 moshi/modules/transformer.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Bool, Float32, Int32, softmax
from tympan.config import TransformerConfig
from tympan.errors import BadModel
from tympan.mimi.kernels import Activation, LayerPointers
from tympan.mimi.matrix import Matrix, Precision
from tympan.rope import Rotation
from tympan.wasm import module
from tympan.weights.tensors import Tensors

Int64: TypeAlias = NDArray[np.int64]

NORM_EPSILON = np.float32(1e-5)
NEVER = -1  # the position of a ring slot that holds nothing yet


@dataclass(frozen=True)
class LayerWeights:
    norm1: tuple[Float32, Float32]  # weight and bias, each (d,)
    in_proj: Matrix  # (3d, d): rows of Q, then K, then V
    out_proj: Matrix  # (d, d), times the first layer scale
    norm2: tuple[Float32, Float32]
    linear1: Matrix  # (h, d)
    linear2: Matrix  # (d, h), times the second layer scale

    @cached_property
    def pointers(self) -> LayerPointers | None:
        """All of it as the kernels take it; None where there are none."""
        in_proj, out_proj, linear1, linear2 = (
            matrix.panels for matrix in (self.in_proj, self.out_proj, self.linear1, self.linear2)
        )
        if in_proj is None or out_proj is None or linear1 is None or linear2 is None:
            return None
        return LayerPointers(self.norm1, in_proj, out_proj, self.norm2, linear1, linear2)

    @classmethod
    def take(cls, d: int, hidden: int, tensors: Tensors, layer: str, precision: Precision) -> LayerWeights:
        """Read one layer; `layer` is its official prefix. Raises BadModel."""
        attention = f"{layer}.self_attn"
        in_proj = tensors.dense(f"{attention}.in_proj_weight", 3 * d, d, alias=f"{attention}.in_projs.0.weight")
        out_proj = tensors.dense(f"{attention}.out_proj.weight", d, d, alias=f"{attention}.out_projs.0.weight")
        scale1 = tensors.dense(f"{layer}.layer_scale_1.scale", d)
        scale2 = tensors.dense(f"{layer}.layer_scale_2.scale", d)
        return cls(
            norm1=(tensors.dense(f"{layer}.norm1.weight", d), tensors.dense(f"{layer}.norm1.bias", d)),
            in_proj=Matrix(in_proj, precision=precision),
            out_proj=Matrix(scale1[:, None] * out_proj, precision=precision),
            norm2=(tensors.dense(f"{layer}.norm2.weight", d), tensors.dense(f"{layer}.norm2.bias", d)),
            linear1=Matrix(tensors.dense(f"{layer}.linear1.weight", hidden, d), precision=precision),
            linear2=Matrix(scale2[:, None] * tensors.dense(f"{layer}.linear2.weight", d, hidden), precision=precision),
        )


@dataclass
class LayerState:
    """A ring of `context` rotated keys and values, each float32 (S, H, D)."""

    keys: Float32
    values: Float32


@dataclass
class TransformerState:
    layers: tuple[LayerState, ...]
    positions: Int64  # (S,): what each slot holds, NEVER at first
    position: int = 0  # the next position, counted from the start of the stream

    @classmethod
    def new(cls, config: TransformerConfig) -> TransformerState:
        ring = (config.context, config.n_heads, config.head_width)
        layers = (LayerState(np.zeros(ring, np.float32), np.zeros(ring, np.float32)) for _ in range(config.n_layers))
        return cls(tuple(layers), np.full(config.context, NEVER))


def transformer_step(
    config: TransformerConfig, layers: tuple[LayerWeights, ...], state: TransformerState, x: Float32, n_frames: int = 1
) -> Float32:
    """The next n_frames of T positions each of a stream: float32 (n_frames * T, d), same shape back.

    All T keys of a frame are written before its first query looks: once the ring is full, the earlier queries of a
    frame have already lost their oldest keys. The official stream does so too, where a call is a frame. Several
    frames a call share the reading of the weights, nothing else: each looks into the ring as it finds it.
    """
    rotation = Rotation.at(state.position, len(x), config.head_width, config.max_period)
    n = len(x) // n_frames
    frames = [_next_slots(config, state, n) for _ in range(n_frames)]
    slots, visible = np.stack([slots for slots, _ in frames]), np.stack([visible for _, visible in frames])
    for weights, ring in zip(layers, state.layers, strict=True):
        x = step_layer(config, weights, ring, rotation, slots, visible, x)
    return x


def step_layer(
    config: TransformerConfig,
    weights: LayerWeights,
    ring: LayerState,
    rotation: Rotation,
    slots: Int32,
    visible: Bool,
    x: Float32,
) -> Float32:
    """One layer of `transformer_step`, F frames of T positions each: float32 (F * T, d), same shape back.

    config: of the transformer that the layer is of. ring: of this stream; takes the keys and values of x.
    rotation: of the F * T positions. slots: (F, T), where in the ring they go. visible: (F, T, S), what they see there.
    """
    kernels = module.kernels()
    if kernels is not None and weights.pointers is not None:
        y = x.copy()
        kernels.layer(y, weights.pointers, ring.keys, ring.values, rotation.cos, rotation.sin, slots, visible)
        return y
    q, k, v = _queries_keys_values(config, weights, rotation, x)
    attended, n = np.empty_like(x), slots.shape[1]
    for frame, (taken, seen) in enumerate(zip(slots, visible, strict=True)):
        rows = slice(frame * n, (frame + 1) * n)
        ring.keys[taken], ring.values[taken] = k[rows], v[rows]
        attended[rows] = attention(q[rows], ring.keys, ring.values, seen)
    return _layer(weights, x, attended)


def _next_slots(config: TransformerConfig, state: TransformerState, n: int) -> tuple[Int32, Bool]:
    """Take the slots of the next n positions, (n,); also which slots each of them will see, (n, S)."""
    assert n <= config.context, (n, config.context)
    queries = np.arange(state.position, state.position + n)
    slots = queries % config.context
    state.positions[slots] = queries
    state.position += n
    return slots.astype(np.int32), (state.positions != NEVER) & (state.positions <= queries[:, None])


def transformer(config: TransformerConfig, layers: tuple[LayerWeights, ...], x: Float32) -> Float32:
    """A whole clip at once: float32 (T, d) -> (T, d). Every query sees itself and `context - 1` keys before it."""
    n = len(x)
    rotation = Rotation.at(0, n, config.head_width, config.max_period)
    for weights in layers:
        q, k, v = _queries_keys_values(config, weights, rotation, x)
        k, v = np.ascontiguousarray(k), np.ascontiguousarray(v)
        attended = np.empty_like(x)
        for start in range(0, n, config.context):  # blocks of queries keep the scores within 2 S * S
            stop, oldest = min(n, start + config.context), max(0, start - config.context + 1)
            queries, keys = np.arange(start, stop)[:, None], np.arange(oldest, stop)
            visible = (keys <= queries) & (keys > queries - config.context)
            attended[start:stop] = attention(q[start:stop], k[oldest:stop], v[oldest:stop], visible)
        x = _layer(weights, x, attended)
    return x


def take_layers(
    config: TransformerConfig, tensors: Tensors, hidden: int, precision: Precision
) -> tuple[LayerWeights, ...]:
    """Read `encoder_transformer.transformer.layers.N`. Raises BadModel."""
    if hidden < 1:
        raise BadModel(f"a feed-forward of {hidden} channels")
    prefix = "encoder_transformer.transformer.layers"
    return tuple(
        LayerWeights.take(config.d, hidden, tensors, f"{prefix}.{i}", precision) for i in range(config.n_layers)
    )


def _queries_keys_values(
    config: TransformerConfig, weights: LayerWeights, rotation: Rotation, x: Float32
) -> tuple[Float32, Float32, Float32]:
    """Project x (T, d) into rotated q and k and plain v, each (T, H, D)."""
    qkv = weights.in_proj.linear(layer_norm(x, *weights.norm1))
    heads = qkv.reshape(len(x), 3 * config.n_heads, config.head_width)
    rotated = rotate(heads[:, : 2 * config.n_heads], rotation)
    return rotated[:, : config.n_heads], rotated[:, config.n_heads :], heads[:, 2 * config.n_heads :]


def rotate(x: Float32, rotation: Rotation) -> Float32:
    """Rotate x (T, H, D), which may be lost: float32, same shape."""
    kernels = module.kernels()
    if kernels is not None:
        kernels.rotate(x, rotation.cos, rotation.sin)
        return x
    return rotation.apply(x)


def attention(q: Float32, keys: Float32, values: Float32, visible: Bool) -> Float32:
    """Attention of q (T, H, D) over keys and values (N, H, D) where visible (T, N): float32 (T, H * D)."""
    kernels = module.kernels()
    if kernels is not None:
        return kernels.attention(q, keys, values, visible)
    scores = q.transpose(1, 0, 2) @ keys.transpose(1, 2, 0)  # (H, T, N)
    scores *= np.float32(1 / sqrt(q.shape[-1]))
    weights = softmax(np.where(visible, scores, np.float32(-1e9)))
    return (weights @ values.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(len(q), -1)


def _layer(weights: LayerWeights, x: Float32, attended: Float32) -> Float32:
    """The rest of a layer after its attention: float32 (T, d) -> (T, d)."""
    x = weights.out_proj.linear(attended, residual=x)
    hidden = weights.linear1.linear(layer_norm(x, *weights.norm2), activation=Activation.GELU)
    return weights.linear2.linear(hidden, residual=x)


def layer_norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias over the last axis: float32, same shape."""
    kernels = module.kernels()
    if kernels is not None:
        return kernels.layer_norm(x, weight, bias)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias
