"""The transformer's weights, read by their official names; matrices are float32, Q4 or Q8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import LMConfig
from tympan.weights.matrix import FORMATS, Matrix, MatrixFormat, format_of
from tympan.weights.tensors import Tensors


@dataclass(frozen=True)
class LayerWeights:
    """Weights of one layer."""

    norm1: Float32  # (d,)
    in_proj: Matrix  # (3d, d): rows of Q, then K, then V
    out_proj: Matrix  # (d, d)
    norm2: Float32  # (d,)
    linear_in: Matrix  # (2h, d): rows of the gate, then of the value
    linear_out: Matrix  # (d, h)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        return self.in_proj, self.out_proj, self.linear_in, self.linear_out

    @classmethod
    def from_tensors(cls, d: int, tensors: Tensors, layer: str) -> LayerWeights:
        """Read one layer. layer: its official prefix. Raises BadModel."""
        attention, gating = f"{layer}.self_attn", f"{layer}.gating"
        n_rows = tensors.n_rows(f"{gating}.linear_in.weight")
        return cls(
            norm1=tensors.vector(f"{layer}.norm1.alpha", d),
            in_proj=tensors.matrix(f"{attention}.in_proj_weight", 3 * d, d, alias=f"{attention}.in_projs.0.weight"),
            out_proj=tensors.matrix(f"{attention}.out_proj.weight", d, d, alias=f"{attention}.out_projs.0.weight"),
            norm2=tensors.vector(f"{layer}.norm2.alpha", d),
            linear_in=tensors.matrix(f"{gating}.linear_in.weight", n_rows, d),
            linear_out=tensors.matrix(f"{gating}.linear_out.weight", d, n_rows // 2),
        )


@dataclass(frozen=True)
class TableGroup:
    """The embedding tables that have the same format. A backend stacks them in this order."""

    format: MatrixFormat
    codebooks: tuple[int, ...]  # whose tables are in this group
    has_text: bool
    tables: tuple[Matrix, ...]  # of the codebooks, then the text table if it is in this group

    @property
    def first_rows(self) -> Int32:
        """The first row of each codebook's table in the stack: int32 (len(codebooks),)."""
        return np.cumsum([0, *self._n_rows[:-1]], dtype=np.int32)[: len(self.codebooks)]

    @property
    def text_row(self) -> int:
        """The first row of the text table in the stack; -1 if it has another format."""
        return sum(self._n_rows[:-1]) if self.has_text else -1

    @property
    def _n_rows(self) -> list[int]:
        return [table.shape[0] for table in self.tables]


@dataclass(frozen=True)
class LMWeights:
    """All weights of the transformer. Read only."""

    embeddings: tuple[Matrix, ...]  # K of (card + 1, d)
    text_embedding: Matrix  # (V + 1, d)
    layers: tuple[LayerWeights, ...]
    out_norm: Float32  # (d,)
    text_linear: Matrix  # (V, d)
    extra_heads: tuple[Float32, ...]  # each (extra_head_width, d)

    @property
    def hidden(self) -> int:
        """h, from the shapes: the configs of the official implementations disagree about it."""
        return self.layers[0].linear_in.shape[0] // 2

    @property
    def tables(self) -> tuple[Matrix, ...]:
        """The embedding tables: a step reads one row of each."""
        return *self.embeddings, self.text_embedding

    def matrices(self) -> Iterator[Matrix]:
        """The matrices that every step multiplies by: those of the layers, then the text head."""
        for layer in self.layers:
            yield from layer.matrices
        yield self.text_linear

    @property
    def table_groups(self) -> tuple[TableGroup, ...]:
        """The tables by format: one group in most models, two where the text table has more bits."""
        groups = []
        for matrix_format in FORMATS:
            codebooks = tuple(k for k, table in enumerate(self.embeddings) if format_of(table) == matrix_format)
            has_text = format_of(self.text_embedding) == matrix_format
            tables = [self.embeddings[k] for k in codebooks] + [self.text_embedding] * has_text
            if tables:
                groups.append(TableGroup(matrix_format, codebooks, has_text, tuple(tables)))
        return tuple(groups)

    @classmethod
    def from_tensors(cls, config: LMConfig, checkpoint: Mapping[str, NDArray[np.generic]]) -> LMWeights:
        """Select the transformer's tensors from a checkpoint.

        checkpoint: official name -> array; a quantized matrix W is the pair `W.q4` or `W.q8` and `W.scale`.
        Raises BadModel when a tensor is missing, or does not match the config in its shape or its name.
        Source: kyutai-labs/moshi@e6a55d2 moshi/models/lm.py.
        """
        d, tensors = config.transformer.d, Tensors(checkpoint)
        weights = cls(
            embeddings=tuple(tensors.matrix(f"emb.{k}.weight", config.card + 1, d) for k in range(config.n_codebooks)),
            text_embedding=tensors.matrix("text_emb.weight", config.text_card + 1, d),
            layers=tuple(
                LayerWeights.from_tensors(d, tensors, f"transformer.layers.{i}")
                for i in range(config.transformer.n_layers)
            ),
            out_norm=tensors.vector("out_norm.alpha", d),
            text_linear=tensors.matrix("text_linear.weight", config.text_card, d),
            extra_heads=tuple(
                tensors.dense(f"extra_heads.{i}.weight", config.extra_head_width, d)
                for i in range(config.n_extra_heads)
            ),
        )
        tensors.check_all_used()
        return weights
