"""The interface of the transformer's implementations: `step`, one 80 ms frame at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tympan.config import LMConfig


@dataclass(frozen=True)
class Step:
    """The result of one 80 ms step of the transformer."""

    token: int  # argmax of the text logits, 0 .. V-1
    logits: NDArray[np.float32] | None = None  # (V,), only when requested
    extra_heads: NDArray[np.float32] | None = None  # (n_extra_heads, width): softmax of each; None without heads


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
    """The transformer, wherever it runs. `lm.reference` is the definition of what every backend computes."""

    @property
    def name(self) -> str:
        """As in ?backend=."""

    @property
    def runs_on(self) -> str:
        """The processor, in words."""

    @property
    def config(self) -> LMConfig: ...

    def new_state(self) -> Any:
        """A new stream, a `BackendState`: empty KV caches and the initial text token."""

    def step(self, state: Any, codes: NDArray[np.int32] | None, *, want_logits: bool = False) -> Awaitable[Step]:
        """Start one step and return at once; await the result.

        The text token is fed back without leaving the backend, so the next step may start before this result is
        awaited.

        state: from `new_state`; updated in place. codes: int32 (K,), the Mimi codes of the next frame, or None at
        step 0, which takes the initial tokens. want_logits: whether the result has logits.
        """

    def close(self) -> None:
        """Free the device memory. The backend cannot be used afterwards."""


class ReplayableBackend(Backend, Protocol):
    """A backend on one device, on which a stream that was lost with another device can be replayed."""

    def new_state(self, position: int = 0) -> Any:
        """See `Backend.new_state`. position: of the first step; above 0 to replay the end of a longer stream."""

    def step(
        self, state: Any, codes: NDArray[np.int32] | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `Backend.step`. text: the text token to read instead of the previous step's result."""
