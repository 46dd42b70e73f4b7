"""An encoder that survives the loss of its GPU: the last samples of each stream are recorded and encoded again.

A frame depends on the frames that the transformer's layers reach through their KV caches: each layer on the last
`context` positions of the layer below. That many frames are kept, so a stream of any length continues without a change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tympan.arrays import Float32, Int32
from tympan.config import MimiConfig
from tympan.errors import DeviceLost, GpuFault
from tympan.mimi.backend import Encoder
from tympan.mimi.encoder import POSITIONS_PER_FRAME
from tympan.reopening import Reopening

Open: TypeAlias = Callable[[], Awaitable[Encoder]]  # loads the encoder on one kind of device, each time called

N_SEANET_FRAMES = 4  # frames that the convolutions reach back


@dataclass
class RecoveringState:
    """One stream, with the frames that a replay needs."""

    inner: Any  # the state on the encoder
    generation: int  # of the encoder that `inner` belongs to
    n_frames: int = 0  # encoded so far
    frames: deque[Float32] = field(default_factory=deque)  # the last ones, each (1920,), oldest first


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

    async def start(self, state: RecoveringState, frames: Float32) -> Int32:
        """See `Encoder.start`. At most one call of a stream may be pending.

        Raises the last GpuError when no kind is left.
        """
        while True:
            generation = self._opened.generation
            try:
                if state.generation != generation:
                    await self._replay(state)
                codes = await self._encode(state.inner, frames)
            except (DeviceLost, GpuFault) as error:
                await self._opened.reopen(generation, error)
            else:
                self._opened.note_result()
                self._keep(state, frames)
                return codes

    def close(self) -> None:
        self._opened.current.close()

    def _keep(self, state: RecoveringState, frames: Float32) -> None:
        """Record frames for a replay, unless the encoder cannot be lost."""
        state.n_frames += len(frames)
        if self._opened.is_last_kind:
            return
        state.frames.extend(frames.copy())
        sizes = self.config.transformer
        n_kept = sizes.n_layers * sizes.context // POSITIONS_PER_FRAME + N_SEANET_FRAMES
        while len(state.frames) > n_kept:
            state.frames.popleft()

    async def _encode(self, inner: Any, frames: Float32) -> Int32:
        """Encode frames in calls of a size that the encoder takes."""
        step = self._opened.current.max_frames
        parts = [frames[start : start + step] for start in range(0, len(frames), step)]
        return np.concatenate([await self._opened.current.start(inner, part) for part in parts])

    async def _replay(self, state: RecoveringState) -> None:
        """Encode the recorded frames again on the current encoder. Their codes are known already."""
        generation = self._opened.generation
        inner = self._opened.current.new_state(POSITIONS_PER_FRAME * (state.n_frames - len(state.frames)))
        if state.frames:
            await self._encode(inner, np.stack(state.frames))
        state.inner, state.generation = inner, generation
