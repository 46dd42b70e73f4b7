"""Buffers: weights uploaded once, inputs written together each step, results read back through staging buffers."""

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

CHUNK_BYTES = 1 << 22  # of an upload; whole words
WORD_BYTES = 4  # of a token or a logit; WebGPU copies and maps whole words
BINDING_ALIGNMENT_BYTES = 256  # the largest minStorageBufferOffsetAlignment that WebGPU allows
MAP_READ = 1  # GPUMapMode.READ


class Usage(IntFlag):
    """The flags of GPUBufferUsage that Tympan uses."""

    MAP_READ = 1
    COPY_SRC = 4
    COPY_DST = 8
    STORAGE = 128
    QUERY_RESOLVE = 512


@dataclass(frozen=True)
class Buffer:
    """A GPUBuffer, or a range of one. `resource` is the GPUBufferBinding."""

    label: str
    n_bytes: int
    handle: Any
    resource: Any
    offset: int = 0  # of a range, in bytes

    @classmethod
    def new(cls, device: Device, label: str, n_bytes: int, usage: Usage = Usage.STORAGE) -> Buffer:
        """Create a buffer of zeros of at least `n_bytes` bytes. Raises GpuFault when the browser rejects the size."""
        n_bytes = align(n_bytes, WORD_BYTES)
        descriptor = {"label": label, "size": n_bytes, "usage": int(usage)}
        try:
            handle = device.handle.createBuffer(js_object(descriptor))
        except JsException as error:
            raise GpuFault(label, str(error)) from error
        return cls(label, n_bytes, handle, js_object({"buffer": handle}))

    def range(self, label: str, offset: int, n_bytes: int) -> Buffer:
        """A range of this buffer, to be bound alone. offset: in bytes, a multiple of BINDING_ALIGNMENT_BYTES."""
        resource = js_object({"buffer": self.handle, "offset": offset, "size": n_bytes})
        return Buffer(f"{self.label}.{label}", n_bytes, self.handle, resource, offset)

    def write(self, device: Device, words: NDArray[Any]) -> None:
        """Write a few words to the start of this buffer, before any work that is submitted later."""
        content = Uint8Array.new(words.nbytes)
        content.assign(words.view(np.uint8))
        device.handle.queue.writeBuffer(self.handle, 0, content)

    def destroy(self) -> None:
        self.handle.destroy()


def align(n: int, multiple: int) -> int:
    """n rounded up to a multiple of `multiple`."""
    return -(-n // multiple) * multiple


def upload(device: Device, label: str, arrays: Sequence[NDArray[Any]], usage: Usage = Usage.STORAGE) -> Buffer:
    """Upload arrays, one after another and without gaps, into one new buffer.

    arrays: of any dtype and shape. Zeros pad the buffer to a whole word.
    Raises GpuFault when the buffer cannot be created.
    """
    return upload_stream(device, label, arrays, sum(array.nbytes for array in arrays), usage)


def upload_stream(
    device: Device, label: str, arrays: Iterable[NDArray[Any]], n_bytes: int, usage: Usage = Usage.STORAGE
) -> Buffer:
    """The same for an iterable of arrays of `n_bytes` in total; only one of them is in memory at a time."""
    # Not through mapped memory: Chromium keeps that in the page's process long after unmapping.
    buffer = Buffer.new(device, label, n_bytes, usage | Usage.COPY_DST)
    chunk, start, filled = Uint8Array.new(min(CHUNK_BYTES, buffer.n_bytes)), 0, 0
    for array in arrays:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        while content.nbytes:
            part, content = np.split(content, [min(content.nbytes, chunk.length - filled)])
            chunk.subarray(filled, filled + part.nbytes).assign(part)
            filled += part.nbytes
            if filled == chunk.length:
                device.handle.queue.writeBuffer(buffer.handle, start, chunk)
                start, filled = start + filled, 0
    assert start + filled == n_bytes, (label, start + filled, n_bytes)
    if filled:
        chunk.fill(0, filled)
        device.handle.queue.writeBuffer(buffer.handle, start, chunk, 0, align(filled, WORD_BYTES))
    return buffer


class InputBlock:
    """Small host arrays that are sent to the device together, in one write.

    `host[name]` is the array to fill, `device[name]` the buffer to bind.
    """

    def __init__(self, device: Device, label: str, **arrays: NDArray[Any]) -> None:
        """arrays: name -> initial content, which determines dtype and shape."""
        sizes = [align(max(array.nbytes, WORD_BYTES), BINDING_ALIGNMENT_BYTES) for array in arrays.values()]
        starts = np.cumsum([0, *sizes])
        self._bytes = np.zeros(starts[-1], np.uint8)
        self._buffer = Buffer.new(device, label, self._bytes.nbytes, Usage.STORAGE | Usage.COPY_DST)
        self._write = device.handle.queue.writeBuffer
        self._outgoing = Uint8Array.new(self._bytes.nbytes)
        self._starts: dict[str, int] = {}
        self.host: dict[str, NDArray[Any]] = {}
        self.device: dict[str, Buffer] = {}
        for (name, array), start in zip(arrays.items(), starts.tolist(), strict=False):
            view = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
            view[...] = array
            self.host[name] = view
            self.device[name] = self._buffer.range(name, start, max(array.nbytes, WORD_BYTES))
            self._starts[name] = start
            self._last_start, self._last_itemsize = start, array.itemsize

    def range(self, name: str, part: str, offset: int, n_bytes: int) -> Buffer:
        """Return a range of an array's buffer. part: its label. offset: a multiple of BINDING_ALIGNMENT_BYTES."""
        return self._buffer.range(f"{name}.{part}", self._starts[name] + offset, n_bytes)

    def write(self, n_last: int | None = None) -> None:
        """Send the host arrays to the device, before any work that is submitted later.

        n_last: how many elements of the last array to send; by default all.
        """
        n_bytes = self._bytes.nbytes
        if n_last is not None:
            n_bytes = self._last_start + align(n_last * self._last_itemsize, WORD_BYTES)
        self._outgoing.subarray(0, n_bytes).assign(self._bytes[:n_bytes])
        self._write(self._buffer.handle, 0, self._outgoing, 0, n_bytes)

    def destroy(self) -> None:
        self._buffer.destroy()


class Readback:
    """A pool of staging buffers. Each transfers one result to the CPU and is reused once that has been read."""

    def __init__(self, device: Device, label: str, n_bytes: int, n_slots: int) -> None:
        self._device = device
        usage = Usage.MAP_READ | Usage.COPY_DST
        self._slots = [Buffer.new(device, f"{label}{i}", n_bytes, usage) for i in range(n_slots)]
        self._free = deque(self._slots)
        self._map = method_of("GPUBuffer", "mapAsync")

    def acquire(self) -> Buffer:
        """Reserve a slot, the target of copies to be read later. At most `n_slots` may be reserved at a time."""
        assert self._free, f"{len(self._slots)} results are pending; await one of them first"
        return self._free.popleft()

    def read(self, slot: Buffer, n_bytes: int) -> Awaitable[NDArray[np.uint8]]:
        """Start to read the first `n_bytes` bytes of a slot whose copies have been submitted: uint8 (n_bytes,).

        Awaiting the result frees the slot and raises DeviceLost or GpuFault.
        """
        return _PendingRead(self._device, self._free, slot, n_bytes, self._map(slot.handle, MAP_READ, 0, n_bytes))

    def destroy(self) -> None:
        for slot in self._slots:
            slot.destroy()


class _PendingRead:
    """A read that was started by `Readback.read`; it proceeds whether it is awaited or not."""

    def __init__(self, device: Device, free: deque[Buffer], slot: Buffer, n_bytes: int, mapping: Any) -> None:
        self._device, self._free, self._slot, self._n_bytes, self._mapping = device, free, slot, n_bytes, mapping

    def __await__(self) -> Generator[Any, None, NDArray[np.uint8]]:
        return self._content().__await__()

    async def _content(self) -> NDArray[np.uint8]:
        content, handle = np.empty(self._n_bytes, np.uint8), self._slot.handle
        try:
            with self._device.polling:
                await self._mapping
            handle.getMappedRange(0, self._n_bytes).assign_to(content)
        except JsException as error:
            await self._device.check_after_loss()
            raise GpuFault(self._slot.label, str(error)) from error
        finally:
            handle.unmap()
            self._free.append(self._slot)
        self._device.check()
        return content
