"""The work per step does not grow with the length of a recording.

Work is counted as executed lines of the library's Python code, not as time. Lists of results refuse to be copied or
iterated, which would cost time without executing lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, SupportsIndex

import pytest

from tests.app.fake_model import FakeTranscriber, SimpleTask, audio, sentence
from tests.app.golden import golden
from tests.awaiting import run
from tympan.config import FRAME_S, FRAME_SAMPLES
from tympan.session import MAX_CONTEXT_S, Session
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import WordBuilder

LIBRARY = str(Path(__file__).parents[2] / "app" / "tympan")
N_TOKENS = 100_000


class LineCounter:
    def __init__(self) -> None:
        self.n_lines = 0

    def trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            self.n_lines += 1
        return self.trace


@contextmanager
def counting_lines() -> Iterator[LineCounter]:
    counter, previous = LineCounter(), sys.gettrace()
    sys.settrace(counter.trace)
    try:
        yield counter
    finally:
        sys.settrace(previous)


class AppendOnly(list[Any]):
    """A list that can be appended to and read at a few indices, but not iterated or copied."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("iterates over all results")

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if isinstance(index, slice):
            assert len(range(*index.indices(len(self)))) <= 1, "copies results"
        return super().__getitem__(index)


class CountingTokenizer(Tokenizer):
    """Counts the ids that are decoded."""

    n_decoded = 0

    def decode(self, ids: Any) -> str:
        CountingTokenizer.n_decoded += len(ids)
        return super().decode(ids)


def test_the_work_per_token_is_constant_over_100_000_tokens() -> None:
    fake = FakeTranscriber()
    tokenizer = CountingTokenizer(fake.tokenizer.pieces)
    piece = next(i for i in range(4, len(tokenizer.pieces)) if tokenizer.begins_word(i))
    period = [3, 3, 0, piece, 3, 3, piece, piece, 3, 3]
    builder = WordBuilder(golden().lm_config, tokenizer)
    builder.words = AppendOnly()
    lines, decoded = [], []
    with counting_lines() as counter:
        for _ in range(N_TOKENS // len(period)):
            n_lines, n_decoded = counter.n_lines, CountingTokenizer.n_decoded
            for token in period:
                builder.push(token)
                assert len(builder.partial) < 100
            lines.append(counter.n_lines - n_lines)
            decoded.append(CountingTokenizer.n_decoded - n_decoded)
    assert len(builder.words) >= 3 * N_TOKENS // len(period) - 1
    assert max(lines[10:]) == min(lines[10:]) > 0
    assert max(decoded[10:]) == min(decoded[10:]) > 0


@pytest.mark.parametrize("live", [False, True])
def test_the_work_per_frame_of_a_session_is_constant(live: bool) -> None:
    """A recording of 12 minutes: each stretch between two resets of the context takes the same work as the first."""
    phrase = sentence(*range(1, 20), n_quiet=20)
    n_phrases = int(MAX_CONTEXT_S / FRAME_S / len(phrase)) + 2  # at least one reset
    frames = audio(phrase).reshape(-1, FRAME_SAMPLES)
    fake = FakeTranscriber()

    async def work_of_each_stretch() -> list[int]:
        session = Session(fake.transcriber, live=live)
        session._stream._words.words = AppendOnly()
        session._stream._recorder.tokens = AppendOnly()
        work = []
        with counting_lines() as counter:
            for _ in range(6):
                n_before = counter.n_lines
                for frame in [frame for _ in range(n_phrases) for frame in frames]:
                    await session.feed(frame)
                    while session.backlog_s:
                        await SimpleTask()
                work.append(counter.n_lines - n_before)
        session.abandon()
        return work

    work = run(work_of_each_stretch())
    assert len(fake.oracle.states) >= 6, "the context was reset"
    assert work[0] > 100_000
    assert max(work[1:]) <= 1.01 * min(work)
