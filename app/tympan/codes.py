"""Codes on their way from Mimi to the transformer: in Python's memory, or still on the GPU that both run on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Int32
from tympan.gpu.buffers import WORD_BYTES, Buffer
from tympan.gpu.device import Device


@dataclass(frozen=True)
class CodeLayout:
    """The layout of codes in GPU memory: a row per frame, with code + offset in the column of each codebook."""

    n_words: int  # of a row
    columns: Int32  # (K,)
    offsets: Int32  # (K,)

    @classmethod
    def plain(cls, n_codebooks: int) -> CodeLayout:
        """The codes alone, in order."""
        return cls(n_codebooks, np.arange(n_codebooks, dtype=np.int32), np.zeros(n_codebooks, np.int32))

    @property
    def row_bytes(self) -> int:
        return WORD_BYTES * self.n_words

    def write(self, rows: NDArray[np.uint32], codes: Int32) -> None:
        """Write codes (n, K) to rows, u32 (n, n_words)."""
        rows[:, self.columns] = codes + self.offsets

    def read(self, content: NDArray[np.uint8]) -> Int32:
        """Return the codes (n, K) in the bytes of n rows."""
        return content.view(np.int32).reshape(-1, self.n_words)[:, self.columns] - self.offsets


@dataclass(frozen=True)
class CodeReader:
    """A stage that reads codes in the memory of its GPU."""

    device: Device
    layout: CodeLayout


@dataclass(frozen=True)
class GpuCodes:
    """The codes of some frames in GPU memory: rows of a buffer."""

    device: Device
    buffer: Buffer
    layout: CodeLayout
    first: int  # row
    n_frames: int
    is_current: Callable[[], bool]  # whether the buffer still has these codes


class PendingCodes:
    """Codes that are being computed: the length, items and slices of an array (T, K). Await them for the values."""

    def __init__(self, n_frames: int, read: Callable[[], Awaitable[Int32]], on_gpu: GpuCodes | None = None) -> None:
        """read: returns the values when they are needed. on_gpu: where a stage on the same device can read them."""
        self._n_frames, self._read, self.on_gpu = n_frames, read, on_gpu

    def __len__(self) -> int:
        return self._n_frames

    def __getitem__(self, frames: int | slice) -> PendingCodes:
        """Return the codes of some frames, (n, K) when awaited, or of one frame, (K,)."""
        selected = range(self._n_frames)[frames]
        some = selected if isinstance(selected, range) else range(selected, selected + 1)
        assert some.step == 1, frames

        async def read() -> Int32:
            return (await self)[frames]

        on_gpu = self.on_gpu and replace(self.on_gpu, first=self.on_gpu.first + some.start, n_frames=len(some))
        return PendingCodes(len(some), read, on_gpu)

    def __iter__(self) -> Iterator[PendingCodes]:
        return (self[i] for i in range(len(self)))

    def __await__(self) -> Generator[Any, None, Int32]:
        return self._read().__await__()


Codes: TypeAlias = Int32 | PendingCodes


async def readable(codes: Int32 | Awaitable[Int32], reader: CodeReader | None) -> Codes:
    """Return codes that a stage can read: as they are if they are on its GPU, otherwise their values.

    reader: the stage; None on the CPU.
    """
    if isinstance(codes, np.ndarray):
        return codes
    if reader and isinstance(codes, PendingCodes) and codes.on_gpu and codes.on_gpu.device is reader.device:
        return codes
    return await codes
