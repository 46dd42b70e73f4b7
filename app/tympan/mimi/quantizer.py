"""Split residual vector quantization: one semantic codebook and a residual chain of acoustic ones.

Source: kyutai-labs/moshi@e6a55d2 moshi/quantization/vq.py and core_vq.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.config import MimiConfig
from tympan.mimi.matrix import Matrix
from tympan.wasm import module
from tympan.weights.tensors import Tensors

MIN_USAGE = np.float32(1e-5)


class ResidualQuantizer:
    """A chain of codebooks: each codes what those before it left over."""

    def __init__(self, input_proj: Matrix, centroids: Float32) -> None:
        """input_proj: (width, d). centroids: float32 (K, n_bins, width)."""
        self._input_proj, self._centroids = input_proj, centroids
        self._half_norms = np.float32(0.5) * np.square(centroids).sum(axis=-1)  # (K, n_bins): |centroid|^2 / 2
        kernels = module.kernels()
        self._codebooks = None if kernels is None else kernels.round_codebooks(centroids, self._half_norms)

    @classmethod
    def take(cls, config: MimiConfig, tensors: Tensors, name: str, n_codebooks: int) -> ResidualQuantizer:
        """Read codebooks, stored as the sum and the count of what each centroid stood for. Raises BadModel."""
        d, n_bins, width = config.transformer.d, config.n_bins, config.quantizer_width
        centroids = np.empty((n_codebooks, n_bins, width), np.float32)
        for k in range(n_codebooks):
            codebook = f"{name}.vq.layers.{k}._codebook"
            sums = tensors.dense(f"{codebook}.embedding_sum", n_bins, width)
            usage = tensors.dense(f"{codebook}.cluster_usage", n_bins)
            np.divide(sums, np.maximum(usage, MIN_USAGE)[:, None], out=centroids[k])
        input_proj = tensors.dense(f"{name}.input_proj.weight", width, d, 1).reshape(width, d)
        return cls(Matrix(input_proj), centroids)

    def encode(self, latent: Float32) -> Int32:
        """The codes of latent (T, d), int32 (T, K): of each codebook the centroid nearest to what is left over.

        That is the one with the most x.e - |e|^2 / 2.
        """
        residual, kernels = self._input_proj.linear(latent), module.kernels()
        if kernels is not None and self._codebooks is not None:
            return kernels.residual_codes(residual, self._codebooks)
        codes = np.empty((len(latent), len(self._centroids)), np.int32)
        for k, (centroids, half_norms) in enumerate(zip(self._centroids, self._half_norms, strict=True)):
            codes[:, k] = np.argmax(residual @ centroids.T - half_norms, axis=1)
            residual = residual - centroids[codes[:, k]]
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
        return np.concatenate([self.semantic.encode(latent), self.acoustic.encode(latent)], axis=1)
