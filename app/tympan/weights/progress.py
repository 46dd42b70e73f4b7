"""Progress of loading a model: bytes done, bytes per second, and seconds left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["download", "convert", "prepare"]

WINDOW_S = 5.0  # the rate is averaged over this time
REPORT_EVERY_S = 0.1


class Progress:
    """Counts the bytes of one phase and reports at most every 0.1 s, and always at the end."""

    def __init__(
        self,
        phase: Phase,
        total_bytes: int,
        report: Callable[[Progress], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """report: called with this object, the first time immediately. clock: returns seconds from any origin."""
        self.phase, self.total_bytes, self.done_bytes = phase, total_bytes, 0
        self._report, self._clock = report, clock
        self._transferred_bytes = 0  # in this phase, without bytes that were stored before
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._reported_at = clock()
        report(self)

    def add(self, n_bytes: int) -> None:
        """Count bytes that were transferred now."""
        self._transferred_bytes += n_bytes
        self._samples.append((self._clock(), self._transferred_bytes))
        while len(self._samples) > 2 and self._samples[1][0] < self._samples[-1][0] - WINDOW_S:
            self._samples.popleft()
        self.skip(n_bytes)

    def skip(self, n_bytes: int) -> None:
        """Count bytes that were already stored, without changing the rate. Negative if stored bytes are discarded."""
        # A file that is longer than its manifest states is rejected later; the progress must not exceed the total.
        self.done_bytes = min(self.done_bytes + n_bytes, self.total_bytes)
        now = self._clock()
        if self.done_bytes == self.total_bytes or now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self._report(self)

    @property
    def missing_bytes(self) -> int:
        """Bytes that are still to be counted."""
        return self.total_bytes - self.done_bytes

    @property
    def rate(self) -> float:
        """Bytes per second, averaged over the last 5 s; 0 if unknown."""
        (begin, before_bytes), (end, after_bytes) = self._samples[0], self._samples[-1]
        return (after_bytes - before_bytes) / (end - begin) if end > begin else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to completion at the current rate; None if the rate is unknown."""
        return self.missing_bytes / self.rate if self.rate > 0 else None


def ignore_progress(progress: Progress) -> None:
    """A progress callback that does nothing."""
