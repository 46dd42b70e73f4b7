"""Opens what runs on a GPU again after the GPU was lost, or the next kind in its place."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from tympan.errors import GpuError


class Closable(Protocol):
    """What can be reopened: a transformer backend or an encoder."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Reopening(Generic[T]):
    """The open one of several kinds, in order of preference. `generation` counts how often it was replaced."""

    def __init__(self, kinds: Sequence[Callable[[], Awaitable[T]]], current: T) -> None:
        """kinds: functions that open one kind each time they are called. current: an open one of the first kind."""
        self._kinds, self.current = deque(kinds), current
        self.generation = 0
        self._has_answered = True  # what was just opened may be lost before its first result only because of sleep
        self._lock = asyncio.Lock()

    @property
    def is_last_kind(self) -> bool:
        """Whether no other kind could take over."""
        return len(self._kinds) < 2

    def note_result(self) -> None:
        """Record that the current one has given a result, so that it is opened again when it is lost."""
        self._has_answered = True

    async def reopen(self, generation: int, error: GpuError) -> None:
        """Open the kind again, or the next one where that fails or it was lost before its first result.

        generation: of the one that failed; nothing is done if it was replaced meanwhile. error: how it failed.
        Raises the last GpuError when no kind is left.
        """
        async with self._lock:
            if generation != self.generation:
                return  # another stream has already reopened it
            with suppress(Exception):  # what is lost may fail in any way
                self.current.close()
            if not self._has_answered and self._kinds:
                self._kinds.popleft()
            while self._kinds:
                try:
                    self.current = await self._kinds[0]()
                except GpuError as failure:
                    error = failure
                    self._kinds.popleft()
                else:
                    self.generation += 1
                    self._has_answered = False
                    return
            raise error
