"""A backend that outlives its GPU: what a stream was fed is kept, and fed again to the backend that takes over.

Kept are the codes and tokens of the last `context` steps, which is what one ring holds. A stream that is no longer than
that is rebuilt exactly; a longer one goes on as if it had begun `context` steps ago, with the words already said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from tympan.arrays import Int32
from tympan.config import LMConfig
from tympan.errors import DeviceLost, GpuError, GpuFault
from tympan.lm.backend import Backend, Step

Open: TypeAlias = Callable[[], Awaitable[Backend]]  # puts the model on one kind of backend, as often as it is called

N_AHEAD = 4  # steps of a replay that are under way together


@dataclass
class ReplayStep:
    """One step of a stream."""

    codes: Int32 | None
    want_logits: bool
    answer: Awaitable[Step] | None = None  # of the backend that is there now
    token: int | None = None  # what was said, once it has been awaited


@dataclass
class State:
    """One stream, and what it takes to begin it again."""

    position: int  # of the next step
    inner: Any  # the state on the backend
    generation: int  # of the backend that `inner` is on
    steps: deque[ReplayStep] = field(default_factory=deque)  # the last ones, oldest first
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # whoever holds it replays


class RecoveringBackend:
    """Implements `Backend` on the first of several kinds that works, and moves on when that one is lost."""

    def __init__(self, kinds: Sequence[Open], backend: Backend) -> None:
        """kinds: how to open the backend again, then what to open where that fails. backend: of the first kind."""
        self._kinds, self._backend = deque(kinds), backend
        self._generation = 0
        self._has_answered = True  # one that was lost before its first word may just have slept
        self._reopening = asyncio.Lock()

    @classmethod
    async def open(cls, kinds: Sequence[Open]) -> RecoveringBackend:
        """Open the first kind that can be opened. Raises the GpuError of the first one when none can."""
        kinds = list(kinds)
        failure: GpuError | None = None
        while kinds:
            try:
                return cls(kinds, await kinds[0]())
            except GpuError as error:
                failure = failure or error
                del kinds[0]
        assert failure is not None, "no kind of backend to open"
        raise failure

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def runs_on(self) -> str:
        return self._backend.runs_on

    @property
    def config(self) -> LMConfig:
        return self._backend.config

    def new_state(self, position: int = 0) -> State:
        """See `Backend.new_state`; nobody replays a replay."""
        assert position == 0, position
        return State(position, self._backend.new_state(position), self._generation)

    def step(
        self, state: State, codes: Int32 | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `Backend.step`. Raises, when awaited, the GpuError after which no kind of backend was left."""
        assert text is None, text
        heard = ReplayStep(codes, want_logits)
        state.steps.append(heard)
        state.position += 1
        if state.generation == self._generation:  # else a replay comes by
            n_kept = self.config.transformer.context
            while len(state.steps) > n_kept and state.steps[n_kept].token is not None:
                state.steps.popleft()
            with suppress(DeviceLost, GpuFault):  # it is met again when the answer is awaited
                heard.answer = self._backend.step(state.inner, codes, want_logits=want_logits)
        return _Answer(self, state, heard)

    def close(self) -> None:
        self._backend.close()

    async def answer(self, state: State, heard: ReplayStep) -> Step:
        """What was said, from whichever backend is there to say it."""
        assert heard.token is None, "awaited twice"
        while True:
            try:
                async with state.lock:
                    generation = self._generation
                    if state.generation != generation:
                        await self._replay(state)
                if heard.answer is None:
                    raise DeviceLost("it took no more work")
                step = await heard.answer
            except (DeviceLost, GpuFault) as error:
                await self._reopen(generation, error)
            else:
                self._has_answered = True
                heard.token, heard.answer = step.token, None
                return step

    async def _reopen(self, generation: int, error: GpuError) -> None:
        """Open the backend again, or the next kind where it cannot be or was lost before it said anything."""
        async with self._reopening:
            if generation != self._generation:
                return  # somebody else did
            with suppress(Exception):  # whatever is wrong with what is lost
                self._backend.close()
            if not self._has_answered and self._kinds:
                self._kinds.popleft()
            while self._kinds:
                try:
                    self._backend = await self._kinds[0]()
                except GpuError as failure:
                    error = failure
                    self._kinds.popleft()
                else:
                    self._generation += 1
                    self._has_answered = False
                    return
            raise error

    async def _replay(self, state: State) -> None:
        """Feed the stream to the backend again. What was said is told to it; what was not said yet is asked again."""
        backend, generation = self._backend, self._generation
        n_forgotten = state.position - len(state.steps)
        first = 1 if n_forgotten else 0  # of a long stream the oldest step is kept for its token alone
        inner = backend.new_state(n_forgotten + first)
        told: deque[Awaitable[Step]] = deque()
        n_fed = first
        while n_fed < len(state.steps):  # more may be asked for meanwhile
            heard, before = state.steps[n_fed], state.steps[n_fed - 1].token if n_fed else None
            while len(told) >= (N_AHEAD if heard.token is not None else 1):
                await told.popleft()
            answer = backend.step(inner, heard.codes, text=before, want_logits=heard.want_logits)
            if heard.token is None:
                heard.answer = answer
            else:
                told.append(answer)
            n_fed += 1
        for answer in told:
            await answer
        state.inner, state.generation = inner, generation


class _Answer:
    """What `step` gives back: unlike a coroutine it may be left alone."""

    def __init__(self, backend: RecoveringBackend, state: State, heard: ReplayStep) -> None:
        self._answer = partial(backend.answer, state, heard)

    def __await__(self) -> Generator[Any, None, Step]:
        return self._answer().__await__()
