"""The transformer's weights under their official names, in float32 or as Q4 blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.config import LMConfig
from tympan.errors import BadModel
from tympan.weights.q4 import Q4Matrix

Float32 = NDArray[np.float32]
Matrix: TypeAlias = Float32 | Q4Matrix


@dataclass(frozen=True)
class LayerWeights:
    norm1: Float32  # (d,)
    in_proj: Matrix  # (3d, d): rows of Q, then K, then V
    out_proj: Matrix  # (d, d)
    norm2: Float32  # (d,)
    linear_in: Matrix  # (2h, d): rows of the gate, then of the value
    linear_out: Matrix  # (d, h)


@dataclass(frozen=True)
class LMWeights:
    """All weights, read only. `h` comes from the tensors: configs do not agree about it."""

    embeddings: tuple[Matrix, ...]  # K of (card + 1, d)
    text_embedding: Matrix  # (V + 1, d)
    layers: tuple[LayerWeights, ...]
    out_norm: Float32  # (d,)
    text_linear: Matrix  # (V, d)
    extra_heads: tuple[Float32, ...]  # each (extra_head_width, d)

    @property
    def hidden(self) -> int:
        return self.layers[0].linear_in.shape[0] // 2

    @classmethod
    def from_tensors(cls, config: LMConfig, tensors: Mapping[str, NDArray[np.generic]]) -> LMWeights:
        """Pick the transformer's tensors out of a checkpoint.

        tensors: official name -> array; a Q4 matrix W is the pair `W.q4`, `W.scale`.
        Raises BadModel when one is missing or has another shape than the config says.
        Source: kyutai-labs/moshi@e6a55d2 moshi/models/lm.py.
        """
        d, picker = config.transformer.d, _Picker(tensors)
        layers = []
        for i in range(config.transformer.n_layers):
            layer = f"transformer.layers.{i}."
            n_rows = picker.n_rows(layer + "gating.linear_in.weight")
            layers.append(
                LayerWeights(
                    norm1=picker.vector(layer + "norm1.alpha", d),
                    in_proj=picker.matrix(
                        layer + "self_attn.in_proj_weight", 3 * d, d, alias=layer + "self_attn.in_projs.0.weight"
                    ),
                    out_proj=picker.matrix(
                        layer + "self_attn.out_proj.weight", d, d, alias=layer + "self_attn.out_projs.0.weight"
                    ),
                    norm2=picker.vector(layer + "norm2.alpha", d),
                    linear_in=picker.matrix(layer + "gating.linear_in.weight", n_rows, d),
                    linear_out=picker.matrix(layer + "gating.linear_out.weight", d, n_rows // 2),
                )
            )
        return cls(
            embeddings=tuple(
                picker.matrix(f"emb.{k}.weight", config.card + 1, d) for k in range(config.n_codebooks)
            ),
            text_embedding=picker.matrix("text_emb.weight", config.text_card + 1, d),
            layers=tuple(layers),
            out_norm=picker.vector("out_norm.alpha", d),
            text_linear=picker.matrix("text_linear.weight", config.text_card, d),
            extra_heads=tuple(
                picker.dense(f"extra_heads.{i}.weight", config.extra_head_width, d)
                for i in range(config.n_extra_heads)
            ),
        )


class _Picker:
    """Looks tensors up by name and checks their shapes."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        self.tensors = tensors

    def n_rows(self, name: str) -> int:
        if name + ".q4" in self.tensors:
            return self.tensors[name + ".q4"].shape[0]
        return self._array(name).shape[0]

    def matrix(self, name: str, n: int, k: int, alias: str = "") -> Matrix:
        if alias and name not in self.tensors and name + ".q4" not in self.tensors:
            name = alias
        if name + ".q4" in self.tensors:
            q4 = Q4Matrix(self._array(name + ".q4"), self._array(name + ".scale"), k)
            if q4.shape != (n, k):
                raise BadModel(f"{name} has {q4.shape[0]} rows, {n} expected")
            return q4
        return self.dense(name, n, k)

    def dense(self, name: str, n: int, k: int) -> Float32:
        array = self._array(name)
        if array.shape != (n, k):
            raise BadModel(f"{name} has shape {array.shape}, {(n, k)} expected")
        return np.ascontiguousarray(array, dtype=np.float32)

    def vector(self, name: str, n: int) -> Float32:
        array = self._array(name)
        if array.size != n:
            raise BadModel(f"{name} holds {array.size} values, {n} expected")
        return np.ascontiguousarray(array, dtype=np.float32).reshape(n)

    def _array(self, name: str) -> NDArray[np.generic]:
        if name not in self.tensors:
            raise BadModel(f"the tensor {name} is missing")
        return self.tensors[name]
