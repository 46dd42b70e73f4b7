"""How far loading is: bytes done, bytes a second, and seconds left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["download", "prepare"]

WINDOW_S = 5.0  # the rate is that of these last seconds
REPORT_EVERY_S = 0.1


class Progress:
    """Counts the bytes of one phase, and reports them a few times a second and at its end."""

    def __init__(
        self,
        phase: Phase,
        total_bytes: int,
        report: Callable[[Progress], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """report: called with this object, the first time at once. clock: seconds since whenever."""
        self.phase, self.total_bytes, self.done_bytes = phase, total_bytes, 0
        self._report, self._clock = report, clock
        self._moved_bytes = 0  # what came in this phase: without what was there before
        self._moves: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._reported_at = clock()
        report(self)

    def add(self, n_bytes: int) -> None:
        """Bytes that have come."""
        self._moved_bytes += n_bytes
        self._moves.append((self._clock(), self._moved_bytes))
        while len(self._moves) > 2 and self._moves[1][0] < self._moves[-1][0] - WINDOW_S:
            self._moves.popleft()
        self.skip(n_bytes)

    def skip(self, n_bytes: int) -> None:
        """Bytes that were there before, which say nothing of the rate; negative where they turned out worthless."""
        # A file may turn out longer than promised; it is refused later, and no bar runs past its end meanwhile.
        self.done_bytes = min(self.done_bytes + n_bytes, self.total_bytes)
        now = self._clock()
        if self.done_bytes == self.total_bytes or now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self._report(self)

    @property
    def rate(self) -> float:
        """Bytes a second, over the last few; 0 where nothing is known yet."""
        (begin, before_bytes), (end, after_bytes) = self._moves[0], self._moves[-1]
        return (after_bytes - before_bytes) / (end - begin) if end > begin else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At that rate; None where there is none."""
        return (self.total_bytes - self.done_bytes) / self.rate if self.rate > 0 else None
