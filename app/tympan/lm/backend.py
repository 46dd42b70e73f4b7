"""What every implementation of the transformer offers: one function, `step`."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tympan.config import LMConfig


@dataclass(frozen=True)
class Step:
    """What one 80 ms step of the transformer says."""

    token: int  # argmax of the text logits, 0 .. V-1
    logits: NDArray[np.float32] | None = None  # (V,), only when asked for
    extra_heads: NDArray[np.float32] | None = None  # (n_extra_heads, width): softmax of each; None without heads


@dataclass(frozen=True)
class Done:
    """A step that was over when it was started."""

    step: Step

    def __await__(self) -> Generator[None, None, Step]:
        yield from ()
        return self.step


class BackendState(Protocol):
    """One stream on a backend."""

    position: int  # of the next step, counted from the start of the stream; a stream has no last one


class Backend(Protocol):
    """The transformer on one kind of machine. `reference` is the plain definition of what all compute."""

    @property
    def name(self) -> str:
        """As in ?backend=."""

    @property
    def runs_on(self) -> str:
        """The processor, in words."""

    @property
    def config(self) -> LMConfig: ...

    def new_state(self, position: int = 0) -> Any:
        """A fresh `BackendState`: empty rings, no text token yet.

        position: of the first step; above 0 where the end of a longer stream is replayed.
        """

    def step(
        self, state: Any, codes: NDArray[np.int32] | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """Start one step and return at once; await the result for what was said.

        state: from `new_state`, advanced in place. codes: (K,) Mimi codes of the next frame, or None at step 0, which
        takes the initial tokens. text: the text token to read; where there is none, the token of the step before is
        fed back without leaving the backend, so the next step may start before this result is awaited.
        """

    def close(self) -> None:
        """Give back the device memory. The backend is of no use afterwards."""
