"""Split residual vector quantization: one semantic codebook and a chain of acoustic codebooks.

Source: kyutai-labs/moshi@e6a55d2 moshi/quantization/vq.py and core_vq.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.config import MimiConfig
from tympan.mimi.kernels import mimi_kernels
from tympan.mimi.linear import Linear
from tympan.weights.tensors import Tensors

MIN_USAGE = np.float32(1e-5)


class ResidualQuantizer:
    """A chain of codebooks; each encodes the residual of the one before."""

    def __init__(self, input_proj: Linear, centroids: Float32) -> None:
        """input_proj: (width, d). centroids: float32 (K, n_bins, width)."""
        self._input_proj, self._centroids = input_proj, centroids
        self._half_norms = np.float32(0.5) * np.square(centroids).sum(axis=-1)  # (K, n_bins): |centroid|^2 / 2
        kernels = mimi_kernels()
        self._codebooks = None if kernels is None else kernels.round_codebooks(centroids, self._half_norms)

    @classmethod
    def from_tensors(cls, config: MimiConfig, tensors: Tensors, name: str, n_codebooks: int) -> ResidualQuantizer:
        """Read codebooks, stored as the sum and count of the vectors of each centroid. Raises BadModel."""
        d, n_bins, width = config.transformer.d, config.n_bins, config.quantizer_width
        centroids = np.empty((n_codebooks, n_bins, width), np.float32)
        for k in range(n_codebooks):
            codebook = f"{name}.vq.layers.{k}._codebook"
            sums = tensors.dense(f"{codebook}.embedding_sum", n_bins, width)
            usage = tensors.dense(f"{codebook}.cluster_usage", n_bins)
            np.divide(sums, np.maximum(usage, MIN_USAGE)[:, None], out=centroids[k])
        input_proj = tensors.dense(f"{name}.input_proj.weight", width, d, 1).reshape(width, d)
        return cls(Linear(input_proj), centroids)

    def encode(self, latent: Float32) -> Int32:
        """Encode latent (T, d) -> codes int32 (T, K): per codebook, the centroid nearest to the current residual.

        The nearest centroid e maximizes x.e - |e|^2 / 2.
        """
        residual, kernels = self._input_proj(latent), mimi_kernels()
        if kernels is not None and self._codebooks is not None:
            return kernels.residual_codes(residual, self._codebooks)
        codes = np.empty((len(latent), len(self._centroids)), np.int32)
        for k, (centroids, half_norms) in enumerate(zip(self._centroids, self._half_norms, strict=True)):
            codes[:, k] = np.argmax(residual @ centroids.T - half_norms, axis=1)
            residual = residual - centroids[codes[:, k]]
        return codes


@dataclass(frozen=True)
class SplitQuantizer:
    """The semantic codebook and the acoustic chain, which encode the same latent."""

    semantic: ResidualQuantizer
    acoustic: ResidualQuantizer

    @classmethod
    def from_tensors(cls, config: MimiConfig, tensors: Tensors) -> SplitQuantizer:
        """Read the first `n_codebooks` codebooks of `quantizer`. Raises BadModel."""
        return cls(
            semantic=ResidualQuantizer.from_tensors(config, tensors, "quantizer.rvq_first", 1),
            acoustic=ResidualQuantizer.from_tensors(config, tensors, "quantizer.rvq_rest", config.n_codebooks - 1),
        )

    def encode(self, latent: Float32) -> Int32:
        """Encode latent (T, d) -> codes int32 (T, K). Both chains read the latent; no residual passes between them."""
        return np.concatenate([self.semantic.encode(latent), self.acoustic.encode(latent)], axis=1)
