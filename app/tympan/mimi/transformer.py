"""Mimi's transformer at 25 Hz: pre-norm layers with learned layer scales, streaming over a KV cache.

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
from tympan.mimi.kernels import Activation, LayerPointers, mimi_kernels
from tympan.mimi.linear import Linear, Precision
from tympan.rope import Rotation
from tympan.weights.tensors import Tensors

Int64: TypeAlias = NDArray[np.int64]

NORM_EPSILON = np.float32(1e-5)
EMPTY = -1  # the position of a slot that holds no key and value yet


@dataclass(frozen=True)
class LayerWeights:
    """Weights of one layer."""

    norm1: tuple[Float32, Float32]  # weight and bias, each (d,)
    in_proj: Linear  # (3d, d): rows of Q, then K, then V
    out_proj: Linear  # (d, d), times the first layer scale
    norm2: tuple[Float32, Float32]
    linear1: Linear  # (h, d)
    linear2: Linear  # (d, h), times the second layer scale

    @cached_property
    def pointers(self) -> LayerPointers | None:
        """Pointers to the weights for `MimiKernels.layer`, or None without SIMD."""
        in_proj, out_proj, linear1, linear2 = (
            matrix.panels for matrix in (self.in_proj, self.out_proj, self.linear1, self.linear2)
        )
        if in_proj is None or out_proj is None or linear1 is None or linear2 is None:
            return None
        return LayerPointers(self.norm1, in_proj, out_proj, self.norm2, linear1, linear2)

    @classmethod
    def from_tensors(cls, d: int, hidden: int, tensors: Tensors, layer: str, precision: Precision) -> LayerWeights:
        """Read one layer. layer: its official name prefix. Raises BadModel."""
        attention = f"{layer}.self_attn"
        in_proj = tensors.dense(f"{attention}.in_proj_weight", 3 * d, d, alias=f"{attention}.in_projs.0.weight")
        out_proj = tensors.dense(f"{attention}.out_proj.weight", d, d, alias=f"{attention}.out_projs.0.weight")
        scale1 = tensors.dense(f"{layer}.layer_scale_1.scale", d)
        scale2 = tensors.dense(f"{layer}.layer_scale_2.scale", d)
        return cls(
            norm1=(tensors.dense(f"{layer}.norm1.weight", d), tensors.dense(f"{layer}.norm1.bias", d)),
            in_proj=Linear(in_proj, precision=precision),
            out_proj=Linear(scale1[:, None] * out_proj, precision=precision),
            norm2=(tensors.dense(f"{layer}.norm2.weight", d), tensors.dense(f"{layer}.norm2.bias", d)),
            linear1=Linear(tensors.dense(f"{layer}.linear1.weight", hidden, d), precision=precision),
            linear2=Linear(scale2[:, None] * tensors.dense(f"{layer}.linear2.weight", d, hidden), precision=precision),
        )


@dataclass
class KVCache:
    """The rotated keys and the values of the last `context` positions of a layer, each float32 (S, H, D)."""

    keys: Float32
    values: Float32


@dataclass
class TransformerState:
    """One stream: the KV cache of every layer, and the positions in its slots."""

    kv_caches: tuple[KVCache, ...]  # one per layer
    positions: Int64  # (S,): the position in each slot, or EMPTY
    position: int = 0  # the next position, counted from the start of the stream

    @classmethod
    def new(cls, config: TransformerConfig) -> TransformerState:
        shape = (config.context, config.n_heads, config.head_width)
        kv_caches = (KVCache(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in range(config.n_layers))
        return cls(tuple(kv_caches), np.full(config.context, EMPTY))


def transformer_step(
    config: TransformerConfig, layers: tuple[LayerWeights, ...], state: TransformerState, x: Float32, n_frames: int = 1
) -> Float32:
    """Process the next n_frames of T positions each: float32 (n_frames * T, d) -> same shape.

    All T keys of a frame are written before its first query attends. Once the cache is full, the earlier queries of a
    frame have therefore lost their oldest keys, as in the official streaming encoder, which processes one frame per
    call. Processing several frames in one call shares only the reading of the weights: the result is the same.
    """
    rotation = Rotation.at(state.position, len(x), config.head_width, config.max_period)
    n = len(x) // n_frames
    frames = [_next_slots(config, state, n) for _ in range(n_frames)]
    slots, visible = np.stack([slots for slots, _ in frames]), np.stack([visible for _, visible in frames])
    for weights, kv_cache in zip(layers, state.kv_caches, strict=True):
        x = step_layer(config, weights, kv_cache, rotation, slots, visible, x)
    return x


def step_layer(
    config: TransformerConfig,
    weights: LayerWeights,
    kv_cache: KVCache,
    rotation: Rotation,
    slots: Int32,
    visible: Bool,
    x: Float32,
) -> Float32:
    """Apply one layer of `transformer_step` to F frames of T positions each: float32 (F * T, d) -> same shape.

    kv_cache: of this stream and layer; the keys and values of x are written to it. rotation: of the F * T positions.
    slots: (F, T), the slots they are written to. visible: (F, T, S), the slots each query attends to.
    """
    kernels = mimi_kernels()
    if kernels is not None and weights.pointers is not None:
        y = x.copy()
        kernels.layer(y, weights.pointers, kv_cache.keys, kv_cache.values, rotation.cos, rotation.sin, slots, visible)
        return y
    q, k, v = _queries_keys_values(config, weights, rotation, x)
    attended, n = np.empty_like(x), slots.shape[1]
    for frame, (written, seen) in enumerate(zip(slots, visible, strict=True)):
        rows = slice(frame * n, (frame + 1) * n)
        kv_cache.keys[written], kv_cache.values[written] = k[rows], v[rows]
        attended[rows] = attention(q[rows], kv_cache.keys, kv_cache.values, seen)
    return _layer(weights, x, attended)


def _next_slots(config: TransformerConfig, state: TransformerState, n: int) -> tuple[Int32, Bool]:
    """Assign slots to the next n positions: the slots (n,), and the slots visible to each position (n, S)."""
    assert n <= config.context, (n, config.context)
    queries = np.arange(state.position, state.position + n)
    slots = queries % config.context
    state.positions[slots] = queries
    state.position += n
    return slots.astype(np.int32), (state.positions != EMPTY) & (state.positions <= queries[:, None])


def transformer(config: TransformerConfig, layers: tuple[LayerWeights, ...], x: Float32) -> Float32:
    """Process a whole clip: float32 (T, d) -> (T, d). A query attends to itself and the `context - 1` keys before."""
    n = len(x)
    rotation = Rotation.at(0, n, config.head_width, config.max_period)
    for weights in layers:
        q, k, v = _queries_keys_values(config, weights, rotation, x)
        k, v = np.ascontiguousarray(k), np.ascontiguousarray(v)
        attended = np.empty_like(x)
        for start in range(0, n, config.context):  # blocks of queries limit the scores to 2 S * S
            stop, oldest = min(n, start + config.context), max(0, start - config.context + 1)
            queries, keys = np.arange(start, stop)[:, None], np.arange(oldest, stop)
            visible = (keys <= queries) & (keys > queries - config.context)
            attended[start:stop] = attention(q[start:stop], k[oldest:stop], v[oldest:stop], visible)
        x = _layer(weights, x, attended)
    return x


def read_layers(
    config: TransformerConfig, tensors: Tensors, hidden: int, precision: Precision
) -> tuple[LayerWeights, ...]:
    """Read `encoder_transformer.transformer.layers.N`. Raises BadModel."""
    if hidden < 1:
        raise BadModel(f"the Mimi transformer has a feed-forward of width {hidden}")
    prefix = "encoder_transformer.transformer.layers"
    return tuple(
        LayerWeights.from_tensors(config.d, hidden, tensors, f"{prefix}.{i}", precision) for i in range(config.n_layers)
    )


def _queries_keys_values(
    config: TransformerConfig, weights: LayerWeights, rotation: Rotation, x: Float32
) -> tuple[Float32, Float32, Float32]:
    """Project x (T, d) into rotated q and k and plain v, each (T, H, D)."""
    qkv = weights.in_proj(layer_norm(x, *weights.norm1))
    heads = qkv.reshape(len(x), 3 * config.n_heads, config.head_width)
    rotated = rotate(heads[:, : 2 * config.n_heads], rotation)
    return rotated[:, : config.n_heads], rotated[:, config.n_heads :], heads[:, 2 * config.n_heads :]


def rotate(x: Float32, rotation: Rotation) -> Float32:
    """Rotate x (T, H, D): float32, same shape. May overwrite x."""
    kernels = mimi_kernels()
    if kernels is not None:
        kernels.rotate(x, rotation.cos, rotation.sin)
        return x
    return rotation.apply(x)


def attention(q: Float32, keys: Float32, values: Float32, visible: Bool) -> Float32:
    """Attend with q (T, H, D) to keys and values (N, H, D) where visible (T, N): float32 (T, H * D)."""
    kernels = mimi_kernels()
    if kernels is not None:
        return kernels.attention(q, keys, values, visible)
    scores = q.transpose(1, 0, 2) @ keys.transpose(1, 2, 0)  # (H, T, N)
    scores *= np.float32(1 / sqrt(q.shape[-1]))
    weights = softmax(np.where(visible, scores, np.float32(-1e9)))
    return (weights @ values.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(len(q), -1)


def _layer(weights: LayerWeights, x: Float32, attended: Float32) -> Float32:
    """Apply the part of a layer after its attention: float32 (T, d) -> (T, d)."""
    x = weights.out_proj(attended, residual=x)
    hidden = weights.linear1(layer_norm(x, *weights.norm2), activation=Activation.GELU)
    return weights.linear2(hidden, residual=x)


def layer_norm(x: Float32, weight: Float32, bias: Float32) -> Float32:
    """Compute (x - mean) / sqrt(variance + 1e-5) * weight + bias over the last axis: float32, same shape."""
    kernels = mimi_kernels()
    if kernels is not None:
        return kernels.layer_norm(x, weight, bias)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias
