"""The interface of the transformer's implementations: `step`, one 80 ms frame at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.codes import CodeReader, Codes
from tympan.config import LMConfig
from tympan.lm.decoding import Candidate
from tympan.lm.terms import NO_TERMS, TermTrie


@dataclass(frozen=True)
class Step:
    """The result of one 80 ms step of the transformer."""

    token: int  # selected by `decoding.decode`, 0 .. V-1
    probability: float = 1.0  # of the token
    others: tuple[Candidate, ...] = ()  # the next most likely tokens, best first
    logits: Float32 | None = None  # (V,), only when requested
    extra_heads: Float32 | None = None  # (n_extra_heads, width): softmax of each; None without heads
    codes: Int32 | None = None  # (K,), which it read; None at step 0


@dataclass(frozen=True)
class CompletedStep:
    """An awaitable for a step that was complete when `step` returned."""

    step: Step

    def __await__(self) -> Generator[None, None, Step]:
        yield from ()
        return self.step


class BackendState(Protocol):
    """One stream on a backend."""

    position: int  # of the next step, counted from the start of the stream; it has no upper limit


class Backend(Protocol):
    """An implementation of the transformer. `lm.reference` defines what every backend computes."""

    @property
    def name(self) -> str:
        """The value of `?backend=` that selects it."""

    @property
    def runs_on(self) -> str:
        """The name of the processor, for the page."""

    @property
    def config(self) -> LMConfig: ...

    @property
    def code_reader(self) -> CodeReader | None:
        """How it reads codes on its GPU; None if it reads them only in Python's memory."""

    @property
    def max_steps(self) -> int:
        """How many steps `steps` may start at once; 1 for a backend that has only `step`."""

    def new_state(self, *, terms: TermTrie = NO_TERMS) -> Any:
        """A new stream, a `BackendState`: empty KV caches and the initial text token. terms: raised in this stream."""

    def step(self, state: Any, codes: Codes | None, *, want_logits: bool = False) -> Awaitable[Step]:
        """Start one step and return at once; await the result.

        The text token is fed back without leaving the backend, so the next step may start before this result is
        awaited.

        state: from `new_state`; updated in place. codes: int32 (K,), the Mimi codes of the next frame, in a form that
        `codes.readable` returns for `code_reader`; None at step 0, which reads the initial tokens. want_logits: whether
        the result has logits.
        """

    def steps(self, state: Any, codes: Codes) -> Sequence[Awaitable[Step]]:
        """Start one step for each frame, int32 (n, K), at once: the same results as `step` for each.

        n is at most `max_steps`.
        """

    def close(self) -> None:
        """Free the device memory. The backend cannot be used afterwards."""


class ReplayableBackend(Backend, Protocol):
    """A backend on one device. A stream of a lost device can be replayed on it."""

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> Any:
        """See `Backend.new_state`. position: of the first step; above 0 to replay the end of a longer stream."""

    def step(
        self, state: Any, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `Backend.step`. text: the text token to read instead of the previous step's result."""


def step_codes(config: LMConfig, codes: Codes | None) -> Int32:
    """The codes that a step reads: int32 (K,). codes: those of a frame, or None for the initial tokens."""
    if codes is None:
        return np.full(config.n_codebooks, config.card, np.int32)
    assert isinstance(codes, np.ndarray), "`codes.readable` was not called"
    check_codes(config, codes[None])
    return codes


def check_codes(config: LMConfig, codes: Int32) -> None:
    """Assert that codes (n, K) are rows of the embedding tables."""
    assert codes.ndim == 2 and codes.shape[1] == config.n_codebooks, codes.shape
    assert codes.min() >= 0 and codes.max() <= config.card, codes


def cache_place(n_before: int, context: int) -> tuple[int, int]:
    """The KV cache slot that a step writes, and the number of filled slots including it.

    n_before: the steps of the stream before this one. context: the slots of the cache.
    """
    return n_before % context, min(n_before + 1, context)
