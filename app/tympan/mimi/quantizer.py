"""Split residual vector quantization: one semantic codebook and a residual chain of acoustic ones.

Source: kyutai-labs/moshi@e6a55d2 moshi/quantization/vq.py and core_vq.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tympan.arrays import Float32, Int32, linear
from tympan.config import MimiConfig
from tympan.weights.tensors import Tensors

MIN_USAGE = np.float32(1e-5)


@dataclass(frozen=True)
class Codebook:
    centroids: Float32  # (n_bins, width)
    half_norms: Float32  # (n_bins,): |centroid|^2 / 2

    @classmethod
    def take(cls, config: MimiConfig, tensors: Tensors, name: str) -> Codebook:
        """Read a codebook, stored as the sum and the count of what each centroid stood for. Raises BadModel."""
        sums = tensors.dense(f"{name}._codebook.embedding_sum", config.n_bins, config.quantizer_width)
        usage = tensors.dense(f"{name}._codebook.cluster_usage", config.n_bins)
        centroids = np.divide(sums, np.maximum(usage, MIN_USAGE)[:, None], dtype=np.float32)
        return cls(centroids, np.float32(0.5) * np.square(centroids).sum(axis=1))

    def nearest(self, x: Float32) -> Int32:
        """The nearest centroid of every row of x (T, width), which has the most x.e - |e|^2 / 2: int32 (T,)."""
        return np.argmax(linear(x, self.centroids) - self.half_norms, axis=1).astype(np.int32)


@dataclass(frozen=True)
class ResidualQuantizer:
    input_proj: Float32  # (width, d)
    codebooks: tuple[Codebook, ...]

    @classmethod
    def take(cls, config: MimiConfig, tensors: Tensors, name: str, n_codebooks: int) -> ResidualQuantizer:
        d, width = config.transformer.d, config.quantizer_width
        return cls(
            input_proj=tensors.dense(f"{name}.input_proj.weight", width, d, 1).reshape(width, d),
            codebooks=tuple(Codebook.take(config, tensors, f"{name}.vq.layers.{k}") for k in range(n_codebooks)),
        )

    def encode(self, latent: Float32) -> list[Int32]:
        """The codes of latent (T, d), one int32 (T,) a codebook: each codes what those before it left over."""
        residual, codes = linear(latent, self.input_proj), []
        for codebook in self.codebooks:
            codes.append(codebook.nearest(residual))
            residual = residual - codebook.centroids[codes[-1]]
        return codes


@dataclass(frozen=True)
class SplitQuantizer:
    semantic: ResidualQuantizer
    acoustic: ResidualQuantizer

    @classmethod
    def take(cls, config: MimiConfig, tensors: Tensors) -> SplitQuantizer:
        """Read the first `n_codebooks` codebooks of `quantizer`. Raises BadModel."""
        return cls(
            semantic=ResidualQuantizer.take(config, tensors, "quantizer.rvq_first", 1),
            acoustic=ResidualQuantizer.take(config, tensors, "quantizer.rvq_rest", config.n_codebooks - 1),
        )

    def encode(self, latent: Float32) -> Int32:
        """Codes of latent (T, d): int32 (T, K). Both halves read the latent itself: no residual passes between them."""
        return np.stack(self.semantic.encode(latent) + self.acoustic.encode(latent), axis=1)
