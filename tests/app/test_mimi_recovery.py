"""RecoveringEncoder: when an encoder is lost, its streams continue on the same kind or on the next."""

from __future__ import annotations

import numpy as np
import pytest

from tests.app.golden import golden
from tests.awaiting import run
from tympan.arrays import Float32, Int32
from tympan.errors import DeviceLost, GpuError, NoWebGPU
from tympan.mimi.backend import CompletedCodes, Encoder
from tympan.mimi.encoder import Mimi, MimiState
from tympan.mimi.recovery import N_SEANET_FRAMES, N_UNREAD_FRAMES, RecoveringEncoder


class LosableEncoder(Mimi):
    """An encoder that is lost after some calls."""

    def __init__(self, n_calls: int) -> None:
        super().__init__(golden().mimi.config, golden().mimi.weights)
        self.n_left, self.is_closed = n_calls, False

    def start(self, state: MimiState, frames: Float32) -> CompletedCodes:
        self.n_left -= 1
        if self.n_left < 0:
            raise DeviceLost("unplugged")
        return super().start(state, frames)

    def close(self) -> None:
        self.is_closed = True


class Openings:
    """Opens one kind of encoder: the outcome of each attempt, and the encoders that were opened."""

    def __init__(self, *outcomes: int | GpuError) -> None:
        """outcomes: after how many calls the encoder is lost, or what opening it raises."""
        self.outcomes, self.opened = list(outcomes), list[LosableEncoder]()

    async def __call__(self) -> Encoder:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, GpuError):
            raise outcome
        self.opened.append(LosableEncoder(outcome))
        return self.opened[-1]


def official_codes() -> Int32:
    codes: Int32 = golden().expected["mimi_codes_stream"].T
    return codes


def codes_of(*kinds: Openings, n_together: int = 1, frames: Float32 | None = None) -> Int32:
    """The codes of frames, by default of the golden recording."""
    frames = golden().frames if frames is None else frames

    async def encode() -> Int32:
        encoder = RecoveringEncoder(kinds, await kinds[0]())
        state = encoder.new_state()
        batches = [frames[start : start + n_together] for start in range(0, len(frames), n_together)]
        return np.concatenate([await encoder.start(state, batch) for batch in batches])

    return run(encode())


@pytest.mark.parametrize("n_calls", [0, 1, 7, 30, 70])
def test_no_code_is_lost_or_changed_wherever_the_encoder_is_lost(n_calls: int) -> None:
    gpu = Openings(n_calls, 1000)

    np.testing.assert_array_equal(codes_of(gpu, Openings()), official_codes())
    assert [encoder.is_closed for encoder in gpu.opened] == [True, False]


def test_a_long_stream_is_rebuilt_from_its_last_frames() -> None:
    """Only the frames that the layers reach are kept, and the codes after a loss are still the same."""
    sizes, frames = golden().mimi.config.transformer, np.concatenate([golden().frames, golden().frames])
    n_kept = sizes.n_layers * sizes.context // 2 + N_SEANET_FRAMES + N_UNREAD_FRAMES
    n_calls = n_kept + 10
    assert n_calls < len(frames)
    gpu = Openings(n_calls, 1000)

    np.testing.assert_array_equal(codes_of(gpu, Openings(), frames=frames), codes_of(Openings(1000), frames=frames))
    n_fed = 1000 - gpu.opened[1].n_left
    assert n_fed == -(-n_kept // 8) + len(frames) - n_calls - 1, "the kept frames in batches, then the rest"


def test_the_next_kind_replaces_one_that_cannot_be_reopened() -> None:
    gpu, cpu = Openings(5, NoWebGPU("it has no adapter")), Openings(1000)

    np.testing.assert_array_equal(codes_of(gpu, cpu, n_together=8), official_codes())
    assert len(cpu.opened) == 1


def test_an_encoder_lost_again_before_a_result_is_replaced_by_the_next_kind() -> None:
    gpu, cpu = Openings(20, 0), Openings(1000)

    np.testing.assert_array_equal(codes_of(gpu, cpu), official_codes())
    assert (len(gpu.opened), len(cpu.opened)) == (2, 1)


def test_the_last_error_is_raised_when_no_kind_is_left() -> None:
    with pytest.raises(NoWebGPU):
        codes_of(Openings(3, NoWebGPU("it has no adapter")), Openings(NoWebGPU("it has no adapter")))
