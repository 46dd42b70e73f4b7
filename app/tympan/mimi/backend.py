"""The interface of Mimi's implementations, as `transcriber.py` uses them."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from tympan.arrays import Float32, Int32
from tympan.config import MimiConfig


@dataclass(frozen=True)
class CompletedCodes:
    """An awaitable for codes that were complete when `start` returned."""

    codes: Int32

    def __await__(self) -> Generator[None, None, Int32]:
        yield from ()
        return self.codes


class Encoder(Protocol):
    """An implementation of Mimi. `mimi.encoder` defines what each computes."""

    @property
    def name(self) -> str:
        """The value of `?mimi=` that selects it."""

    @property
    def max_frames(self) -> int:
        """How many frames to encode in one call, at most; larger batches are no faster."""

    @property
    def config(self) -> MimiConfig: ...

    def new_state(self, position: int = 0) -> Any:
        """Return a new stream. position: of its first frame at 25 Hz; above 0 to replay the end of a longer stream."""

    def start(self, state: Any, frames: Float32) -> Awaitable[Int32]:
        """Start to encode the next frames of a stream, float32 (T, 1920); await the codes, int32 (T, K).

        T is at most `max_frames`. The codes do not depend on how the frames are divided into calls. Where the result is
        `PendingCodes`, a transformer on the same GPU can read them there instead.
        """

    def close(self) -> None:
        """Free the device memory. The encoder cannot be used afterwards."""
