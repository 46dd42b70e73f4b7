"""Backends that are lost on the way: the stream goes on where it was, on the same kind or on the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.app.golden import golden
from tests.awaiting import run
from tympan.arrays import Int32
from tympan.config import LMConfig
from tympan.errors import DeviceLost, GpuError, GpuLimit, NoWebGPU
from tympan.lm.backend import Backend, Done
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.reference import Reference, State

N_IN_FLIGHT = 4


class Mortal(Reference):
    """A GPU that is taken away after some steps."""

    def __init__(self, n_steps: int, config: LMConfig | None = None) -> None:
        super().__init__(config or golden().lm_config, golden().lm_weights)
        self.n_left = n_steps
        self.is_closed = False

    def step(self, state: State, codes: Int32 | None, *, text: int | None = None, want_logits: bool = False) -> Done:
        self.n_left -= 1
        if self.n_left < 0:
            raise DeviceLost("unplugged")
        return super().step(state, codes, text=text, want_logits=want_logits)

    def close(self) -> None:
        self.is_closed = True


class Openings:
    """How to open one kind of backend: what each attempt gives, and which ones it gave."""

    def __init__(self, *outcomes: int | GpuError, config: LMConfig | None = None) -> None:
        """outcomes: after how many steps the backend is lost, or what opening it raises."""
        self.outcomes, self.config = list(outcomes), config
        self.opened: list[Mortal] = []

    async def __call__(self) -> Backend:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, GpuError):
            raise outcome
        self.opened.append(Mortal(outcome, self.config))
        return self.opened[-1]


def frames() -> list[Int32 | None]:
    return [None, *golden().expected["stream_codes"].T.astype(np.int32)]


def official_tokens() -> list[int]:
    tokens: list[int] = golden().expected["primed_text_tokens"].tolist()
    return tokens


def said(kinds: Sequence[Callable[[], Awaitable[Backend]]], n_in_flight: int = N_IN_FLIGHT) -> list[int]:
    """The tokens of the golden recording, steps under way as in a file."""

    async def listen() -> list[int]:
        backend = await RecoveringBackend.open(kinds)
        state, pending, tokens = backend.new_state(), [], []
        for frame in frames():
            pending.append(backend.step(state, frame))
            if len(pending) == n_in_flight:
                tokens.append((await pending.pop(0)).token)
        return tokens + [(await step).token for step in pending]

    return run(listen())


def test_nothing_is_lost_or_doubled_wherever_the_backend_goes() -> None:
    context = golden().lm_config.transformer.context
    for n_steps in range(1, context):
        first = Openings(n_steps, 1000)
        assert said([first]) == official_tokens(), n_steps
        assert [backend.is_closed for backend in first.opened] == [True, False]


def test_a_backend_may_go_again_and_again() -> None:
    assert said([Openings(10, 12, 15, 18, 1000)], n_in_flight=1) == official_tokens()


def test_a_long_stream_goes_on_with_what_was_said() -> None:
    """Lost long after the ring was full: `context` steps are fed again, not all of them."""
    context = golden().lm_config.transformer.context
    kind = Openings(3 * context, 1000)
    tokens = said([kind])

    assert tokens[: 3 * context - N_IN_FLIGHT] == official_tokens()[: 3 * context - N_IN_FLIGHT]
    assert len(tokens) == len(official_tokens())
    n_fed = 1000 - kind.opened[1].n_left
    assert n_fed <= context + N_IN_FLIGHT + len(official_tokens()) - 3 * context


def test_one_layer_remembers_no_more_than_its_ring() -> None:
    """There a replay of `context` steps is exact, however long the stream was."""
    config = golden().lm_config
    shallow = replace(config, transformer=replace(config.transformer, n_layers=1))
    alone, lost = Openings(1000, config=shallow), Openings(60, 1000, config=shallow)
    assert said([alone]) == said([lost])


def test_what_is_lost_at_once_again_gives_way_to_the_next_kind() -> None:
    gpu, cpu = Openings(10, 3), Openings(1000)
    assert said([gpu, cpu]) == official_tokens()
    assert (len(gpu.opened), len(cpu.opened)) == (2, 1)


def test_what_cannot_be_opened_again_gives_way_to_the_next_kind() -> None:
    assert said([Openings(10, NoWebGPU("it has no adapter")), Openings(1000)]) == official_tokens()


def test_the_first_kind_that_opens_is_taken() -> None:
    assert said([Openings(GpuLimit("maxBufferSize", 2, 1)), Openings(1000)]) == official_tokens()


def test_when_nothing_opens_the_first_reason_is_told() -> None:
    with pytest.raises(GpuLimit):
        said([Openings(GpuLimit("maxBufferSize", 2, 1)), Openings(NoWebGPU("it has no adapter"))])


def test_when_nothing_is_left_every_step_says_so() -> None:
    async def listen() -> None:
        backend = await RecoveringBackend.open([Openings(5, 0)])
        state = backend.new_state()
        steps = [backend.step(state, frame) for frame in frames()[:8]]
        for step in steps[:5]:
            await step
        for step in (*steps[5:], backend.step(state, frames()[8])):
            with pytest.raises(DeviceLost):
                await step

    run(listen())


def test_streams_side_by_side_both_go_on() -> None:
    async def listen() -> list[list[int]]:
        backend = await RecoveringBackend.open([Openings(25, 1000)])
        states = backend.new_state(), backend.new_state()
        return [[(await backend.step(state, frame)).token for state in states] for frame in frames()[:20]]

    assert run(listen()) == [[token, token] for token in official_tokens()[:20]]


def test_no_more_is_kept_than_a_ring_holds() -> None:
    async def listen() -> int:
        backend = await RecoveringBackend.open([Openings(10_000)])
        state = backend.new_state()
        for frame in frames() * 3:
            await backend.step(state, frame)
        return len(state.steps)

    assert run(listen()) <= golden().lm_config.transformer.context + 1
