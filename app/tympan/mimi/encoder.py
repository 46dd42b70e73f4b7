"""The Mimi encoder: one 80 ms frame of audio -> one code per codebook.

SEANet (25 Hz) -> transformer (25 Hz) -> convolution of stride 2 (12.5 Hz) -> split residual vector quantization.
Source: kyutai-labs/moshi@e6a55d2 moshi/models/compression.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.errors import BadModel
from tympan.mimi.backend import CompletedCodes
from tympan.mimi.conv import ConvState, ConvWeights, conv
from tympan.mimi.linear import Precision
from tympan.mimi.quantizer import SplitQuantizer
from tympan.mimi.seanet import SeanetState, SeanetWeights, seanet
from tympan.mimi.transformer import LayerWeights, TransformerState, read_layers, transformer, transformer_step
from tympan.weights.tensors import Tensors

POSITIONS_PER_FRAME = 2  # of the transformer
DOWNSAMPLE_SIZE, DOWNSAMPLE_STRIDE = 4, POSITIONS_PER_FRAME  # kernel and stride of the convolution to 12.5 Hz


@dataclass(frozen=True)
class MimiWeights:
    """Weights of the whole encoder."""

    seanet: SeanetWeights
    layers: tuple[LayerWeights, ...]
    downsample: ConvWeights
    quantizer: SplitQuantizer

    @classmethod
    def from_tensors(
        cls, config: MimiConfig, tensors: Mapping[str, NDArray[np.generic]], precision: Precision = Precision.INT16
    ) -> MimiWeights:
        """Read the encoder's tensors from a checkpoint. Other tensors, such as a decoder's, are ignored.

        tensors: official name -> array of any float type. precision: of the transformer's matrices. Raises BadModel.
        """
        first_linear = tensors.get("encoder_transformer.transformer.layers.0.linear1.weight")
        if first_linear is None:
            raise BadModel("the Mimi file has no encoder transformer under the official names")
        named, d = Tensors(tensors), config.transformer.d
        return cls(
            seanet=SeanetWeights.from_tensors(config, named),
            layers=read_layers(config.transformer, named, len(first_linear), precision),
            downsample=ConvWeights.from_tensors(
                named, "downsample.conv.conv.conv", d, d, DOWNSAMPLE_SIZE, DOWNSAMPLE_STRIDE, bias=False
            ),
            quantizer=SplitQuantizer.from_tensors(config, named),
        )


@dataclass
class MimiState:
    """One stream: the state of each stage."""

    seanet: SeanetState
    transformer: TransformerState
    downsample: ConvState


class Mimi:
    """The encoder on the CPU. `step` continues a stream; calling it encodes a whole clip. Implements `Encoder`."""

    name = "cpu"
    max_frames = 8

    def __init__(self, config: MimiConfig, weights: MimiWeights) -> None:
        self.config, self.weights = config, weights

    def new_state(self, position: int = 0) -> MimiState:
        """Return the state of a new stream. position: of its first frame at 25 Hz."""
        transformer = TransformerState.new(self.config.transformer)
        transformer.position = position
        return MimiState(SeanetState.new(self.weights.seanet), transformer, ConvState())

    def step(self, state: MimiState, frame: Float32) -> Int32:
        """Encode the next frame of a stream: float32 (1920,) in [-1, 1] at 24 kHz -> codes int32 (K,)."""
        return self.encode(state, frame[None])[0]

    def encode(self, state: MimiState, frames: Float32) -> Int32:
        """Encode the next frames of a stream: float32 (T, 1920) -> int32 (T, K).

        Equal to `step` on each frame, but faster: the weights are read once for all frames.
        """
        return self.weights.quantizer.encode(self.stream_latent(state, frames))

    def start(self, state: MimiState, frames: Float32) -> CompletedCodes:
        """See `Encoder.start`."""
        return CompletedCodes(self.encode(state, frames))

    def close(self) -> None:
        """See `Encoder.close`."""

    def stream_latent(self, state: MimiState, frames: Float32) -> Float32:
        """Compute the next frames' latents before quantization: float32 (T, 1920) -> (T, d)."""
        n_frames = len(frames)
        assert frames.shape == (n_frames, FRAME_SAMPLES), frames.shape
        x = seanet(self.weights.seanet, state.seanet, frames.reshape(-1, 1))
        x = transformer_step(self.config.transformer, self.weights.layers, state.transformer, x, n_frames)
        return conv(self.weights.downsample, state.downsample, x)

    def __call__(self, pcm: Float32) -> Int32:
        """Encode a whole clip: float32 (n_samples,) -> codes int32 (T, K). The last frame is padded with silence.

        Equal to the stream only until the transformer's KV cache is full; see `transformer_step`.
        """
        return self.weights.quantizer.encode(self.latent(pcm))

    def latent(self, pcm: Float32) -> Float32:
        """Compute a whole clip's latents before quantization: float32 (n_samples,) -> (T, d)."""
        state, samples = self.new_state(), np.pad(pcm, (0, -len(pcm) % FRAME_SAMPLES))
        x = seanet(self.weights.seanet, state.seanet, samples[:, None])
        x = transformer(self.config.transformer, self.weights.layers, x)
        return conv(self.weights.downsample, state.downsample, x)
