"""Buffers: weights uploaded once, a block of small inputs written each step, a ring of results read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.errors import GpuFault
from tympan.gpu.device import Device
from tympan.gpu.webapi import JsException, Uint8Array, js_object, method_of

PIECE_BYTES = 1 << 22  # of an upload; whole words
WORD_BYTES = 4  # of a token or a logit; copies and mappings are in whole words
SECTION_BYTES = 256  # the largest minStorageBufferOffsetAlignment that WebGPU allows
MAP_READ = 1  # GPUMapMode.READ


class Usage(IntFlag):
    """GPUBufferUsage, as far as Tympan uses it."""

    MAP_READ = 1
    COPY_SRC = 4
    COPY_DST = 8
    STORAGE = 128
    QUERY_RESOLVE = 512


@dataclass(frozen=True)
class Buffer:
    """Memory of the device, or a part of it. `resource` is a GPUBufferBinding."""

    label: str
    n_bytes: int
    handle: Any
    resource: Any

    @classmethod
    def new(cls, device: Device, label: str, n_bytes: int, usage: Usage = Usage.STORAGE) -> Buffer:
        """A buffer of zeros of at least `n_bytes` bytes. Raises GpuFault when the browser makes none of that size."""
        n_bytes = align(n_bytes, WORD_BYTES)
        descriptor = {"label": label, "size": n_bytes, "usage": int(usage)}
        try:
            handle = device.handle.createBuffer(js_object(descriptor))
        except JsException as error:
            raise GpuFault(label, str(error)) from error
        return cls(label, n_bytes, handle, js_object({"buffer": handle}))

    def section(self, label: str, offset: int, n_bytes: int) -> Buffer:
        """A part of this buffer, to be bound alone. offset: bytes, a multiple of SECTION_BYTES."""
        resource = js_object({"buffer": self.handle, "offset": offset, "size": n_bytes})
        return Buffer(f"{self.label}.{label}", n_bytes, self.handle, resource)

    def write(self, device: Device, words: NDArray[Any]) -> None:
        """Put a few words at the start of this buffer, ahead of all that is submitted later."""
        content = Uint8Array.new(words.nbytes)
        content.assign(words.view(np.uint8))
        device.handle.queue.writeBuffer(self.handle, 0, content)

    def destroy(self) -> None:
        self.handle.destroy()


def align(n: int, multiple: int) -> int:
    """n rounded up to a multiple."""
    return -(-n // multiple) * multiple


def upload(device: Device, label: str, arrays: Sequence[NDArray[Any]], usage: Usage = Usage.STORAGE) -> Buffer:
    """Put arrays, one after another and without gaps, into one new buffer.

    arrays: any dtype. Zeros fill the buffer up to a whole word.
    Raises GpuFault when there is no memory.
    """
    return upload_stream(device, label, arrays, sum(array.nbytes for array in arrays), usage)


def upload_stream(
    device: Device, label: str, arrays: Iterable[NDArray[Any]], n_bytes: int, usage: Usage = Usage.STORAGE
) -> Buffer:
    """Do the same with arrays that come one by one, `n_bytes` in all; none is kept while the next one is made."""
    # Not through mapped memory: Chromium keeps that in the page's process, long after it was unmapped.
    buffer = Buffer.new(device, label, n_bytes, usage | Usage.COPY_DST)
    outgoing, start, filled = Uint8Array.new(min(PIECE_BYTES, buffer.n_bytes)), 0, 0
    for array in arrays:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        while content.nbytes:
            part, content = np.split(content, [min(content.nbytes, outgoing.length - filled)])
            outgoing.subarray(filled, filled + part.nbytes).assign(part)
            filled += part.nbytes
            if filled == outgoing.length:
                device.handle.queue.writeBuffer(buffer.handle, start, outgoing)
                start, filled = start + filled, 0
    assert start + filled == n_bytes, (label, start + filled, n_bytes)
    if filled:
        outgoing.fill(0, filled)
        device.handle.queue.writeBuffer(buffer.handle, start, outgoing, 0, align(filled, WORD_BYTES))
    return buffer


class InputBlock:
    """Small host arrays that reach the device together, in one write.

    `host[name]` is the array to fill in, `device[name]` the buffer to bind.
    """

    def __init__(self, device: Device, label: str, **arrays: NDArray[Any]) -> None:
        """arrays: name -> the first content, which fixes dtype and shape."""
        starts = np.cumsum([0] + [align(max(array.nbytes, WORD_BYTES), SECTION_BYTES) for array in arrays.values()])
        self._bytes = np.zeros(starts[-1], np.uint8)
        self._buffer = Buffer.new(device, label, self._bytes.nbytes, Usage.STORAGE | Usage.COPY_DST)
        self._write = device.handle.queue.writeBuffer
        self._outgoing = Uint8Array.new(self._bytes.nbytes)
        self.host: dict[str, NDArray[Any]] = {}
        self.device: dict[str, Buffer] = {}
        for (name, array), start in zip(arrays.items(), starts.tolist(), strict=False):
            view = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
            view[...] = array
            self.host[name] = view
            self.device[name] = self._buffer.section(name, start, max(array.nbytes, WORD_BYTES))

    def write(self) -> None:
        """Send the host arrays to the device, ahead of all that is submitted later."""
        self._outgoing.assign(self._bytes)
        self._write(self._buffer.handle, 0, self._outgoing)


class Readback:
    """A ring of staging buffers: each carries one result to the CPU and is free again when that was read."""

    def __init__(self, device: Device, label: str, n_bytes: int, n_slots: int) -> None:
        self._device = device
        usage = Usage.MAP_READ | Usage.COPY_DST
        self._slots = [Buffer.new(device, f"{label}{i}", n_bytes, usage) for i in range(n_slots)]
        self._free = deque(self._slots)
        self._map = method_of("GPUBuffer", "mapAsync")

    def take(self) -> Buffer:
        """A free slot, to be the target of copies and then to be read. It is a mistake to take more than there are."""
        assert self._free, f"{len(self._slots)} results are on their way; await one of them first"
        return self._free.popleft()

    def read(self, slot: Buffer, n_bytes: int) -> Awaitable[NDArray[np.uint8]]:
        """Ask for the first `n_bytes` bytes of a slot, once the copies to it have been submitted: uint8 (n_bytes,).

        The slot is free again when the result has been awaited, which raises DeviceLost or GpuFault.
        """
        return _Reading(self._device, self._free, slot, n_bytes, self._map(slot.handle, MAP_READ, 0, n_bytes))

    def destroy(self) -> None:
        for slot in self._slots:
            slot.destroy()


class _Reading:
    """Bytes on their way to the CPU, from now on and whether somebody waits or not."""

    def __init__(self, device: Device, free: deque[Buffer], slot: Buffer, n_bytes: int, mapping: Any) -> None:
        self._device, self._free, self._slot, self._n_bytes, self._mapping = device, free, slot, n_bytes, mapping

    def __await__(self) -> Generator[Any, None, NDArray[np.uint8]]:
        return self._content().__await__()

    async def _content(self) -> NDArray[np.uint8]:
        content, handle = np.empty(self._n_bytes, np.uint8), self._slot.handle
        try:
            await self._mapping
            handle.getMappedRange(0, self._n_bytes).assign_to(content)
        except JsException as error:
            await self._device.check_soon()
            raise GpuFault(self._slot.label, str(error)) from error
        finally:
            handle.unmap()
            self._free.append(self._slot)
        self._device.check()
        return content
