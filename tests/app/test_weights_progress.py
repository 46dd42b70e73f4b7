"""Bytes, rate and time left, with a simulated clock."""

from __future__ import annotations

from tympan.weights.progress import Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left() -> None:
    clock = Clock()
    progress = Progress("download", 1000, lambda progress: None, clock)
    assert progress.seconds_left is None
    progress.skip(200)  # already stored: does not count for the rate
    assert progress.rate == 0
    for _ in range(4):
        clock.now += 1
        progress.add(100)
    assert progress.done_bytes == 600
    assert progress.rate == 100
    assert progress.seconds_left == 4


def test_rate_is_averaged_over_the_last_seconds() -> None:
    clock = Clock()
    progress = Progress("download", 10**6, lambda progress: None, clock)
    for n_bytes in [1000] * 20 + [10] * 20:
        clock.now += 1
        progress.add(n_bytes)
    assert progress.rate == 10


def test_reports_are_throttled_and_the_last_is_sent() -> None:
    clock, reports = Clock(), []
    progress = Progress("prepare", 1000, lambda progress: reports.append(progress.done_bytes), clock)
    for _ in range(1000):
        clock.now += 0.001
        progress.add(1)
    assert reports[0] == 0
    assert reports[-1] == 1000
    assert 5 < len(reports) < 20


def test_progress_does_not_exceed_the_total() -> None:
    progress = Progress("download", 10, lambda progress: None)
    progress.add(25)
    assert progress.done_bytes == 10
