"""An encoder that survives the loss of its GPU: the last samples of each stream are recorded and encoded again.

A frame depends on the frames that the transformer's layers reach through their KV caches: each layer on the last
`context` positions of the layer below. That many frames are kept, so a stream of any length continues without a change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.codes import PendingCodes
from tympan.config import MimiConfig
from tympan.errors import DeviceLost, GpuFault
from tympan.mimi.backend import Encoder
from tympan.mimi.encoder import POSITIONS_PER_FRAME
from tympan.reopening import Reopening

Open: TypeAlias = Callable[[], Awaitable[Encoder]]  # loads the encoder on one kind of device, each time called

N_SEANET_FRAMES = 4  # frames that the convolutions reach back
N_UNREAD_FRAMES = 64  # the last ones, whose codes may have been read only on the GPU


@dataclass
class RecoveringState:
    """One stream, with the frames that a replay needs."""

    inner: Any  # the state on the encoder
    generation: int  # of the encoder that `inner` belongs to
    n_frames: int = 0  # started so far
    frames: deque[Float32] = field(default_factory=deque)  # the last ones, each (1920,), oldest first
    replayed: Int32 | None = None  # codes of the frames of the last replay
    n_replayed: int = 0  # frames that had been started then


@dataclass
class Call:
    """The frames of a call, and their codes on the encoder that it was started on."""

    first: int  # frame of the stream
    n_frames: int
    pending: Awaitable[Int32] | None  # None if the encoder took no more work


class RecoveringEncoder:
    """Implements `Encoder` on the first of several kinds, and opens it again or the next one when it is lost."""

    def __init__(self, kinds: Sequence[Open], encoder: Encoder) -> None:
        """kinds: functions that open an encoder, in order of preference. encoder: an open one of the first kind."""
        self._opened = Reopening(kinds, encoder)

    @property
    def name(self) -> str:
        return self._opened.current.name

    @property
    def max_frames(self) -> int:
        return self._opened.current.max_frames

    @property
    def config(self) -> MimiConfig:
        return self._opened.current.config

    def new_state(self, position: int = 0) -> RecoveringState:
        """See `Encoder.new_state`."""
        assert position == 0, position
        return RecoveringState(self._opened.current.new_state(), self._opened.generation)

    def start(self, state: RecoveringState, frames: Float32) -> PendingCodes:
        """See `Encoder.start`. Codes of a stream are awaited one after the other, those of the last frames only.

        Awaiting raises the last GpuError when no kind is left.
        """
        call = Call(state.n_frames, len(frames), None)
        is_current = state.generation == self._opened.generation  # otherwise a replay will encode these frames
        self._keep(state, frames, is_current)
        if is_current:
            with suppress(DeviceLost, GpuFault):  # awaiting the codes raises it again
                call.pending = self._started(state.inner, frames)
        on_gpu = call.pending.on_gpu if isinstance(call.pending, PendingCodes) else None
        return PendingCodes(len(frames), partial(self._codes_of, state, call), on_gpu)

    def close(self) -> None:
        self._opened.current.close()

    async def _codes_of(self, state: RecoveringState, call: Call) -> Int32:
        """The codes of a call, from the current encoder or from one that replaces it meanwhile."""
        while True:
            generation = self._opened.generation
            try:
                if state.generation != generation:
                    await self._replay(state)
                if state.replayed is not None and call.first < state.n_replayed:
                    start = call.first - state.n_replayed + len(state.replayed)
                    assert start >= 0, "the frames of this call were dropped"
                    codes = state.replayed[start : start + call.n_frames]
                elif call.pending is not None:
                    codes = await call.pending
                else:
                    raise DeviceLost("it took no more work")
            except (DeviceLost, GpuFault) as error:
                await self._opened.reopen(generation, error)
            else:
                self._opened.note_result()
                return codes

    def _keep(self, state: RecoveringState, frames: Float32, is_current: bool) -> None:
        """Record frames for a replay, unless the encoder cannot be lost."""
        state.n_frames += len(frames)
        if is_current and self._opened.is_last_kind:
            return
        state.frames.extend(frames.copy())
        sizes = self.config.transformer
        n_kept = sizes.n_layers * sizes.context // POSITIONS_PER_FRAME + N_SEANET_FRAMES + N_UNREAD_FRAMES
        while len(state.frames) > n_kept:
            state.frames.popleft()

    def _started(self, inner: Any, frames: Float32) -> Awaitable[Int32]:
        """Start to encode frames; when awaited, if they are more than the encoder takes in one call."""
        encoder = self._opened.current
        if len(frames) <= encoder.max_frames:
            return encoder.start(inner, frames)
        return PendingCodes(len(frames), partial(self._encode, inner, frames))

    async def _encode(self, inner: Any, frames: Float32) -> Int32:
        """Encode frames in calls of a size that the encoder takes."""
        step = self._opened.current.max_frames
        parts = [frames[start : start + step] for start in range(0, len(frames), step)]
        return np.concatenate([await self._opened.current.start(inner, part) for part in parts])

    async def _replay(self, state: RecoveringState) -> None:
        """Encode the recorded frames again on the current encoder."""
        generation, n_frames = self._opened.generation, state.n_frames
        inner = self._opened.current.new_state(POSITIONS_PER_FRAME * (n_frames - len(state.frames)))
        state.replayed = await self._encode(inner, np.stack(state.frames))
        state.n_replayed, state.inner, state.generation = n_frames, inner, generation
