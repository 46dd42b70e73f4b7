"""SEANet: audio at 24 kHz -> vectors at 25 Hz, through residual blocks and strided convolutions.

Source: kyutai-labs/moshi@e6a55d2 moshi/modules/seanet.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from tympan.arrays import Float32
from tympan.config import MimiConfig
from tympan.mimi.activations import elu
from tympan.mimi.conv import ConvState, ConvWeights, conv
from tympan.mimi.kernels import Activation
from tympan.weights.tensors import Tensors


@dataclass(frozen=True)
class StageWeights:
    """A residual block, x + narrow(ELU(wide(ELU(x)))), then ELU and a strided convolution that doubles the channels."""

    wide: ConvWeights
    narrow: ConvWeights
    down: ConvWeights


@dataclass(frozen=True)
class SeanetWeights:
    """Weights of SEANet: a convolution, the stages, a convolution."""

    first: ConvWeights
    stages: tuple[StageWeights, ...]
    last: ConvWeights

    @classmethod
    def from_tensors(cls, config: MimiConfig, tensors: Tensors) -> SeanetWeights:
        """Read `encoder.model.N`; N counts the layers of the official module list, ELUs included. Raises BadModel."""
        channels, n = config.n_filters, 1
        first = ConvWeights.from_tensors(tensors, "encoder.model.0.conv.conv", channels, 1, config.kernel_size)
        stages = []
        for ratio in config.ratios:
            block, inner = f"encoder.model.{n}.block", channels // config.compress
            stages.append(
                StageWeights(
                    wide=ConvWeights.from_tensors(
                        tensors, f"{block}.1.conv.conv", inner, channels, config.residual_kernel_size
                    ),
                    narrow=ConvWeights.from_tensors(tensors, f"{block}.3.conv.conv", channels, inner, 1),
                    down=ConvWeights.from_tensors(
                        tensors, f"encoder.model.{n + 2}.conv.conv", 2 * channels, channels, 2 * ratio, ratio
                    ),
                )
            )
            channels, n = 2 * channels, n + 3
        last = ConvWeights.from_tensors(
            tensors, f"encoder.model.{n + 1}.conv.conv", config.transformer.d, channels, config.last_kernel_size
        )
        return cls(first, tuple(stages), last)


@dataclass
class StageState:
    """The state of one stage of a stream."""

    wide: ConvState
    narrow: ConvState
    down: ConvState


@dataclass
class SeanetState:
    """One stream: the state of each convolution."""

    first: ConvState
    stages: tuple[StageState, ...]
    last: ConvState

    @classmethod
    def new(cls, weights: SeanetWeights) -> SeanetState:
        stages = tuple(StageState(ConvState(), ConvState(), ConvState()) for _ in weights.stages)
        return cls(ConvState(), stages, ConvState())


def seanet(weights: SeanetWeights, state: SeanetState, samples: Float32) -> Float32:
    """Encode the next samples: float32 (L, 1), L a multiple of 960 -> float32 (L / 960, d)."""
    x = conv(weights.first, state.first, samples)
    for stage, stage_state in zip(weights.stages, state.stages, strict=True):
        inner = conv(stage.wide, stage_state.wide, elu(x), activation=Activation.ELU)
        x = conv(stage.narrow, stage_state.narrow, inner, residual=x, activation=Activation.ELU)
        x = conv(stage.down, stage_state.down, x)
    return conv(weights.last, state.last, elu(x))
