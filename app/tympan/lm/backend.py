"""What every implementation of the transformer offers: one function, `step`."""

from __future__ import annotations

from collections.abc import Awaitable
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


class Backend(Protocol):
    """The transformer on one kind of machine. `reference` is the plain definition of what all compute."""

    name: str  # as in ?backend=
    runs_on: str  # the processor, in words
    config: LMConfig

    def new_state(self) -> Any:
        """A fresh stream: empty rings, position 0, no text token yet."""

    def step(self, state: Any, codes: NDArray[np.int32] | None, *, want_logits: bool = False) -> Awaitable[Step]:
        """Start one step and return at once; await the result for what was said.

        state: from `new_state`, advanced in place. codes: (K,) Mimi codes of the next frame, or None at step 0, which
        takes the initial tokens. The text token of the step before is fed back without leaving the backend, so the
        next step may start before this result is awaited.
        """

    def close(self) -> None:
        """Give back the device memory. The backend is of no use afterwards."""
