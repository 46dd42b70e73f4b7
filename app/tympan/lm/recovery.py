"""A backend that survives the loss of its GPU: the last steps of each stream are recorded and replayed.

The codes and tokens of the last `context` steps are kept, which is as many as a KV cache holds. A stream that is no
longer than that is rebuilt exactly. A longer one continues as if it had started `context` steps ago, with the text
tokens that were already returned. Codes that were still on the lost GPU are awaited: Mimi computes them again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from tympan.codes import CodeReader, Codes, PendingCodes
from tympan.config import LMConfig
from tympan.errors import DeviceLost, GpuError, GpuFault
from tympan.lm.backend import ReplayableBackend, Step
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.reopening import Reopening

Open: TypeAlias = Callable[[], Awaitable[ReplayableBackend]]  # loads the model on one kind of backend, each time called

N_REPLAYED_AHEAD = 4  # steps of a replay that are pending at the same time


@dataclass
class ReplayStep:
    """The input of one step and, once it has been awaited, its codes and its text token."""

    codes: Codes | None
    want_logits: bool
    pending: Awaitable[Step] | None = None  # result on the current backend
    token: int | None = None


@dataclass
class RecoveringState:
    """One stream, with the steps that a replay needs."""

    position: int  # of the next step
    inner: Any  # the state on the backend
    generation: int  # of the backend that `inner` belongs to
    terms: TermTrie
    steps: deque[ReplayStep] = field(default_factory=deque)  # the last ones, oldest first
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held during a replay


class RecoveringBackend:
    """Implements `Backend` on the first of several kinds that works, and reopens it or the next one when it is lost."""

    def __init__(self, kinds: Sequence[Open], backend: ReplayableBackend) -> None:
        """kinds: functions that open a backend, in order of preference. backend: an open one of the first kind."""
        self._opened = Reopening(kinds, backend)

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
        return self._opened.current.name

    @property
    def runs_on(self) -> str:
        return self._opened.current.runs_on

    @property
    def config(self) -> LMConfig:
        return self._opened.current.config

    @property
    def code_reader(self) -> CodeReader | None:
        return self._opened.current.code_reader

    async def open_code_reader(self) -> CodeReader | None:
        """Return `code_reader`, after a lost backend has been opened again. Raises the GpuError of the last kind."""
        while reader := self.code_reader:
            generation = self._opened.generation
            try:
                reader.device.check()
            except (DeviceLost, GpuFault) as error:
                await self._opened.reopen(generation, error)
            else:
                return reader
        return None

    @property
    def max_steps(self) -> int:
        return self._opened.current.max_steps

    def new_state(self, *, terms: TermTrie = NO_TERMS) -> RecoveringState:
        """See `Backend.new_state`."""
        return RecoveringState(0, self._opened.current.new_state(terms=terms), self._opened.generation, terms)

    def step(self, state: RecoveringState, codes: Codes | None, *, want_logits: bool = False) -> Awaitable[Step]:
        """See `Backend.step`. Awaiting raises the last GpuError when no kind of backend is left."""

        def start() -> Sequence[Awaitable[Step]]:
            return [self._opened.current.step(state.inner, codes, want_logits=want_logits)]

        [pending] = self._start(state, [ReplayStep(codes, want_logits)], start)
        return pending

    def steps(self, state: RecoveringState, codes: Codes) -> Sequence[Awaitable[Step]]:
        """See `Backend.steps`. Awaiting raises the last GpuError when no kind of backend is left."""

        def start() -> Sequence[Awaitable[Step]]:
            return self._opened.current.steps(state.inner, codes)

        return self._start(state, [ReplayStep(frame, want_logits=False) for frame in codes], start)

    def _start(
        self, state: RecoveringState, steps: Sequence[ReplayStep], start: Callable[[], Sequence[Awaitable[Step]]]
    ) -> Sequence[Awaitable[Step]]:
        """Record steps, and start them on the backend."""
        state.steps.extend(steps)
        state.position += len(steps)
        if state.generation == self._opened.generation:  # otherwise a replay will start this step
            n_kept = self.config.transformer.context
            while len(state.steps) > n_kept and state.steps[n_kept].token is not None:
                state.steps.popleft()
            with suppress(DeviceLost, GpuFault):  # awaiting the result raises it again
                for step, pending in zip(steps, start(), strict=True):
                    step.pending = pending
        return [_RecoverablePendingStep(self, state, step) for step in steps]

    def close(self) -> None:
        self._opened.current.close()

    async def result_of(self, state: RecoveringState, step: ReplayStep) -> Step:
        """The result of a step, from the current backend or from one that replaces it meanwhile."""
        assert step.token is None, "awaited twice"
        while True:
            try:
                async with state.lock:
                    generation = self._opened.generation
                    if state.generation != generation:
                        await self._replay(state)
                if step.pending is None:
                    raise DeviceLost("it took no more work")
                result = await step.pending
            except (DeviceLost, GpuFault) as error:
                await self._opened.reopen(generation, error)
            else:
                self._opened.note_result()
                step.token, step.codes, step.pending = result.token, result.codes, None
                return result

    async def _replay(self, state: RecoveringState) -> None:
        """Run the recorded steps on the current backend.

        Steps with a known token are run with that token and their results are dropped; the others become pending.
        """
        backend, generation = self._opened.current, self._opened.generation
        n_dropped = state.position - len(state.steps)
        first = 1 if n_dropped else 0  # of a long stream the oldest step is kept only for its token
        inner = backend.new_state(n_dropped + first, terms=state.terms)
        replayed: deque[Awaitable[Step]] = deque()
        i = first
        while i < len(state.steps):  # more steps may be added meanwhile
            step, text = state.steps[i], state.steps[i - 1].token if i else None
            if isinstance(step.codes, PendingCodes):
                step.codes = await step.codes
            while len(replayed) >= (N_REPLAYED_AHEAD if step.token is not None else 1):
                await replayed.popleft()
            pending = backend.step(inner, step.codes, text=text, want_logits=step.want_logits)
            if step.token is None:
                step.pending = pending
            else:
                replayed.append(pending)
            i += 1
        for pending in replayed:
            await pending
        state.inner, state.generation = inner, generation


class _RecoverablePendingStep:
    """A started step. Unlike a coroutine, it need not be awaited."""

    def __init__(self, backend: RecoveringBackend, state: RecoveringState, step: ReplayStep) -> None:
        self._result = partial(backend.result_of, state, step)

    def __await__(self) -> Generator[Any, None, Step]:
        return self._result().__await__()
