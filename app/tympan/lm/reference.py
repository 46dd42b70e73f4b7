"""The transformer in plain numpy: slow and short, the definition of what every other backend computes.

Source: kyutai-labs/moshi@e6a55d2 moshi/models/lm.py, moshi/modules/transformer.py and gating.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, linear, softmax
from tympan.codes import CodeReader, Codes
from tympan.config import LMConfig
from tympan.lm.backend import CompletedStep, Step, cache_place, step_codes
from tympan.lm.decoding import candidates_of, decode, initial
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.rope import Rotation
from tympan.weights.matrix import dense, in_memory, rows_of

NORM_EPSILON = np.float32(1e-8)


@dataclass
class ReferenceState:
    """One stream: the KV cache of every layer, with rotated keys, and the last text token.

    decoded: see `decoding.DECODED`. Its first token is the one that the next step reads.
    """

    keys: Float32  # (n_layers, S, H, D)
    values: Float32  # (n_layers, S, H, D)
    decoded: NDArray[Any]  # (1,) of DECODED
    terms: TermTrie
    position: int  # of the next step
    first: int  # position of the first step, which is in slot 0 of the KV caches

    @classmethod
    def new(cls, config: LMConfig, position: int = 0, terms: TermTrie = NO_TERMS) -> ReferenceState:
        sizes = config.transformer
        kv_cache = np.zeros((sizes.n_layers, sizes.context, sizes.n_heads, sizes.head_width), np.float32)
        decoded = initial(config.text_card)
        return cls(kv_cache, kv_cache.copy(), decoded, terms, position=position, first=position)


@dataclass(frozen=True)
class DenseLayer:
    """`LayerWeights` with all matrices in float32."""

    norm1: Float32
    in_proj: Float32
    out_proj: Float32
    norm2: Float32
    linear_in: Float32
    linear_out: Float32

    @classmethod
    def from_weights(cls, layer: LayerWeights) -> DenseLayer:
        return cls(**{field.name: dense(getattr(layer, field.name)) for field in fields(cls)})


class Reference:
    """The numpy backend. All matrices but the tables are converted to float32 once and kept."""

    name = "numpy"
    runs_on = "CPU"
    code_reader: CodeReader | None = None
    max_steps = 1

    def __init__(self, config: LMConfig, weights: LMWeights) -> None:
        self.config = config
        self.embeddings = [in_memory(table) for table in weights.embeddings]
        self.text_embedding = in_memory(weights.text_embedding)
        self.layers = [DenseLayer.from_weights(layer) for layer in weights.layers]
        self.out_norm = weights.out_norm
        self.text_linear = dense(weights.text_linear)
        self.extra_heads = np.stack(weights.extra_heads) if weights.extra_heads else None

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> ReferenceState:
        return ReferenceState.new(self.config, position, terms)

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""

    def step(
        self, state: ReferenceState, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        """See `ReplayableBackend.step`."""
        if text is not None:
            state.decoded["tokens"][0, 0] = text
        x = rows_of(self.text_embedding, [state.decoded["tokens"][0, 0]])[0]
        read = step_codes(self.config, codes)
        for table, code in zip(self.embeddings, read, strict=True):
            x += rows_of(table, [code])[0]
        for i in range(self.config.transformer.n_layers):
            x = self._layer(state, i, x)
        state.position += 1

        y = rms_norm(x, self.out_norm)
        logits = linear(y, self.text_linear)
        decode(logits, state.decoded, state.terms)
        selected, others = candidates_of(state.decoded)
        heads = None if self.extra_heads is None else softmax(self.extra_heads @ y)
        kept = logits if want_logits else None
        return CompletedStep(
            Step(selected.token, selected.probability, others, kept, heads, None if codes is None else read)
        )

    def steps(self, state: ReferenceState, codes: Codes) -> list[CompletedStep]:
        """See `Backend.steps`."""
        return [self.step(state, frame) for frame in codes]

    def _layer(self, state: ReferenceState, i: int, x: Float32) -> Float32:
        sizes, layer = self.config.transformer, self.layers[i]
        q, k, v = linear(rms_norm(x, layer.norm1), layer.in_proj).reshape(3, 1, sizes.n_heads, sizes.head_width)
        rotation = Rotation.at(state.position, 1, sizes.head_width, sizes.max_period)
        slot, n_keys = cache_place(state.position - state.first, sizes.context)
        state.keys[i, slot], state.values[i, slot] = rotation.apply(k)[0], v[0]
        attended = attention(rotation.apply(q)[0], state.keys[i, :n_keys], state.values[i, :n_keys])
        x = np.add(x, linear(attended, layer.out_proj))
        gate, value = np.split(linear(rms_norm(x, layer.norm2), layer.linear_in), 2)
        return np.add(x, linear(silu(gate) * value, layer.linear_out))


def attention(q: Float32, keys: Float32, values: Float32) -> Float32:
    """Attention of one query q (H, D) over keys and values (N, H, D) in any order: float32 (H * D,)."""
    scores = np.einsum("hd,nhd->hn", q, keys) * np.float32(1 / sqrt(q.shape[-1]))
    return np.einsum("hn,nhd->hd", softmax(scores), values).reshape(-1)


def rms_norm(x: Float32, alpha: Float32) -> Float32:
    """x * alpha / sqrt(mean(x^2) + 1e-8) over (d,): float32 (d,)."""
    return x * (alpha / np.sqrt(NORM_EPSILON + np.square(x).mean()))


def silu(x: Float32) -> Float32:
    """x / (1 + exp(-x)): float32, the shape of x."""
    return x / (1 + np.exp(-np.maximum(x, -88)))  # exp(89) overflows a float32
