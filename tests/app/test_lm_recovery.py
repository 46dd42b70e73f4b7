"""RecoveringBackend: when a backend is lost, its streams continue on the same kind or on the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.app.golden import golden
from tests.awaiting import run
from tympan.arrays import Int32
from tympan.codes import Codes
from tympan.config import LMConfig
from tympan.errors import DeviceLost, GpuError, GpuLimit, NoWebGPU
from tympan.lm.backend import CompletedStep, ReplayableBackend
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.reference import Reference, ReferenceState

N_IN_FLIGHT = 4


class LosableBackend(Reference):
    """A backend that is lost after some steps."""

    def __init__(self, n_steps: int, config: LMConfig | None = None) -> None:
        super().__init__(config or golden().lm_config, golden().lm_weights)
        self.n_left = n_steps
        self.is_closed = False

    def step(
        self, state: ReferenceState, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        self.n_left -= 1
        if self.n_left < 0:
            raise DeviceLost("unplugged")
        return super().step(state, codes, text=text, want_logits=want_logits)

    def close(self) -> None:
        self.is_closed = True


class Openings:
    """Opens one kind of backend: the outcome of each attempt, and the backends that were opened."""

    def __init__(self, *outcomes: int | GpuError, config: LMConfig | None = None) -> None:
        """outcomes: after how many steps the backend is lost, or what opening it raises."""
        self.outcomes, self.config = list(outcomes), config
        self.opened: list[LosableBackend] = []

    async def __call__(self) -> ReplayableBackend:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, GpuError):
            raise outcome
        self.opened.append(LosableBackend(outcome, self.config))
        return self.opened[-1]


def frames() -> list[Int32 | None]:
    return [None, *golden().expected["stream_codes"].T.astype(np.int32)]


def official_tokens() -> list[int]:
    tokens: list[int] = golden().expected["primed_text_tokens"].tolist()
    return tokens


def tokens_of(kinds: Sequence[Callable[[], Awaitable[ReplayableBackend]]], n_in_flight: int = N_IN_FLIGHT) -> list[int]:
    """The tokens of the golden recording, with several steps pending as for a file."""

    async def transcribe() -> list[int]:
        backend = await RecoveringBackend.open(kinds)
        state, pending, tokens = backend.new_state(), [], []
        for frame in frames():
            pending.append(backend.step(state, frame))
            if len(pending) == n_in_flight:
                tokens.append((await pending.pop(0)).token)
        return tokens + [(await step).token for step in pending]

    return run(transcribe())


def test_no_token_is_lost_or_repeated_wherever_the_backend_is_lost() -> None:
    context = golden().lm_config.transformer.context
    for n_steps in range(1, context):
        first = Openings(n_steps, 1000)
        assert tokens_of([first]) == official_tokens(), n_steps
        assert [backend.is_closed for backend in first.opened] == [True, False]


@pytest.mark.parametrize("n_steps", [1, 2, 5, 9, 20])
def test_no_token_is_lost_when_several_steps_start_at_once(n_steps: int) -> None:
    async def transcribe() -> list[int]:
        backend = await RecoveringBackend.open([Openings(n_steps, 1000)])
        state, codes = backend.new_state(), np.stack([frame for frame in frames() if frame is not None])
        pending = [backend.step(state, None)]
        for start in range(0, len(codes), 3):
            group = codes[start : start + 3]
            pending += backend.steps(state, group) if len(group) > 1 else [backend.step(state, group[0])]
        return [(await step).token for step in pending]

    assert run(transcribe()) == official_tokens()


def test_backend_can_be_lost_repeatedly() -> None:
    assert tokens_of([Openings(10, 12, 15, 18, 1000)], n_in_flight=1) == official_tokens()


def test_long_stream_continues_with_its_last_tokens() -> None:
    """Lost long after the KV cache was full: `context` steps are replayed, not all of them."""
    context = golden().lm_config.transformer.context
    kind = Openings(3 * context, 1000)
    tokens = tokens_of([kind])

    assert tokens[: 3 * context - N_IN_FLIGHT] == official_tokens()[: 3 * context - N_IN_FLIGHT]
    assert len(tokens) == len(official_tokens())
    n_fed = 1000 - kind.opened[1].n_left
    assert n_fed <= context + N_IN_FLIGHT + len(official_tokens()) - 3 * context


def test_replay_of_a_single_layer_is_exact() -> None:
    """One layer depends only on its KV cache, so a replay of `context` steps is exact for a stream of any length."""
    config = golden().lm_config
    shallow = replace(config, transformer=replace(config.transformer, n_layers=1))
    alone, lost = Openings(1000, config=shallow), Openings(60, 1000, config=shallow)
    assert tokens_of([alone]) == tokens_of([lost])


def test_backend_lost_again_before_a_result_is_replaced_by_the_next_kind() -> None:
    gpu, cpu = Openings(10, 3), Openings(1000)
    assert tokens_of([gpu, cpu]) == official_tokens()
    assert (len(gpu.opened), len(cpu.opened)) == (2, 1)


def test_backend_that_cannot_be_reopened_is_replaced_by_the_next_kind() -> None:
    assert tokens_of([Openings(10, NoWebGPU("it has no adapter")), Openings(1000)]) == official_tokens()


def test_first_kind_that_opens_is_used() -> None:
    assert tokens_of([Openings(GpuLimit("maxBufferSize", 2, 1)), Openings(1000)]) == official_tokens()


def test_first_error_is_raised_when_no_kind_opens() -> None:
    with pytest.raises(GpuLimit):
        tokens_of([Openings(GpuLimit("maxBufferSize", 2, 1)), Openings(NoWebGPU("it has no adapter"))])


def test_every_step_raises_when_no_kind_is_left() -> None:
    async def transcribe() -> None:
        backend = await RecoveringBackend.open([Openings(5, 0)])
        state = backend.new_state()
        steps = [backend.step(state, frame) for frame in frames()[:8]]
        for step in steps[:5]:
            await step
        for step in (*steps[5:], backend.step(state, frames()[8])):
            with pytest.raises(DeviceLost):
                await step

    run(transcribe())


def test_parallel_streams_both_continue() -> None:
    async def transcribe() -> list[list[int]]:
        backend = await RecoveringBackend.open([Openings(25, 1000)])
        states = backend.new_state(), backend.new_state()
        return [[(await backend.step(state, frame)).token for state in states] for frame in frames()[:20]]

    assert run(transcribe()) == [[token, token] for token in official_tokens()[:20]]


def test_recorded_steps_are_limited_to_the_context() -> None:
    async def transcribe() -> int:
        backend = await RecoveringBackend.open([Openings(10_000)])
        state = backend.new_state()
        for frame in frames() * 3:
            await backend.step(state, frame)
        return len(state.steps)

    assert run(transcribe()) <= golden().lm_config.transformer.context + 1
