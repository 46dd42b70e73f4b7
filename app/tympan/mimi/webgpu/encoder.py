"""The encoder on WebGPU: one write of samples, one pass and one submit per call.

The codes of a call are read back at once, or, where the transformer reads them on the same device, only if awaited.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.codes import CodeLayout, CodeReader, GpuCodes, PendingCodes
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.gpu.buffers import WORD_BYTES, Buffer, InputBlock, Readback, Usage
from tympan.gpu.device import Adapter, Device
from tympan.gpu.kernel import CommandList, Compiler, Copy, Queue
from tympan.mimi.encoder import POSITIONS_PER_FRAME
from tympan.mimi.webgpu.kernels import MimiGpuKernels, Tuning
from tympan.mimi.webgpu.loader import Loader
from tympan.mimi.webgpu.model import PART_FRAMES, Model, PartInputs, Step, needed_limits
from tympan.rope import Rotation
from tympan.weights.tensors import Tensors

MAX_FRAMES = 32  # of a call
N_IN_FLIGHT = 4  # calls of one stream whose codes are being read back
_HIDDEN = "encoder_transformer.transformer.layers.0.linear1.weight"  # has as many rows as the feed-forward is wide
_N_HEADER = 4  # words of a call before its rotations
_N_PARTS = MAX_FRAMES // PART_FRAMES  # of a call, in SEANet


class MimiGpuState:
    """One stream: its buffers and position, and the dispatches of a call, bound to these once."""

    def __init__(self, encoder: MimiGpu, position: int) -> None:
        device, config, model = encoder.device, encoder.config, encoder.model
        self.n_calls = self.n_parts = 0  # of SEANet: parts of calls
        self.position = self.first = position  # of the next call and of the first one, at 25 Hz
        self.samples = np.zeros(config.kernel_size - 1, np.float32)  # the last ones of the call before
        self.stream = model.new_stream()
        n_bytes = MAX_FRAMES * model.layout.row_bytes
        self.codes = Buffer.new(device, "mimi.codes", n_bytes, Usage.STORAGE | Usage.COPY_SRC)
        self.readback = Readback(device, "mimi.result", n_bytes, N_IN_FLIGHT)
        self.steps: Sequence[Step] = tuple(
            model.forward(encoder.inputs.device["call"], encoder.parts, self.stream, self.codes)
        )
        self._dispatches: dict[int, CommandList] = {}
        weakref.finalize(self, _destroy, [self.codes, *self.stream.buffers], self.readback)

    def dispatches(self, tuning: Tuning, n_frames: int) -> CommandList:
        """The dispatches of a call of n_frames."""
        if n_frames not in self._dispatches:
            steps = (step.at(tuning, n_frames) for step in self.steps)
            self._dispatches[n_frames] = CommandList(dispatch for dispatch in steps if dispatch is not None)
        return self._dispatches[n_frames]


class MimiGpu:
    """Mimi on a GPU, in float32. Implements `Encoder`."""

    name = "webgpu"
    max_frames = MAX_FRAMES

    def __init__(
        self, config: MimiConfig, device: Device, model: Model, tuning: Tuning, *, is_shared: bool = False
    ) -> None:
        """is_shared: whether the device belongs to the transformer, which reads the codes there."""
        self.config, self.device, self.model, self.tuning = config, device, model, tuning
        self._is_shared = is_shared
        self.runs_on = device.info.summary
        self.queue = Queue(device, "mimi.call")
        n_angles = MAX_FRAMES * POSITIONS_PER_FRAME * config.transformer.head_width
        self.inputs = InputBlock(
            device,
            "mimi.inputs",
            **{f"part{i}": np.zeros(_N_HEADER + 2, np.uint32) for i in range(_N_PARTS)},  # with one rotation, unused
            call=np.zeros(_N_HEADER + n_angles, np.uint32),
            samples=np.zeros(config.kernel_size - 1 + MAX_FRAMES * FRAME_SAMPLES, np.float32),
        )
        n_bytes = WORD_BYTES * (config.kernel_size - 1 + PART_FRAMES * FRAME_SAMPLES)
        self.parts = [
            PartInputs(
                self.inputs.device[f"part{i}"],
                self.inputs.range("samples", f"part{i}", i * WORD_BYTES * PART_FRAMES * FRAME_SAMPLES, n_bytes),
            )
            for i in range(_N_PARTS)
        ]

    @classmethod
    async def create(
        cls,
        config: MimiConfig,
        tensors: Mapping[str, NDArray[Any]],
        *,
        tuning: Tuning | None = None,
        reader: CodeReader | None = None,
    ) -> MimiGpu:
        """Upload an encoder to the GPU.

        tensors: official name -> array; uploaded as stored if float32, float16 or int8. tuning: the kernel parameters;
        by default those for the adapter. reader: the transformer, if it reads codes on its GPU; the encoder then uses
        the same device.
        Raises BadModel; NoWebGPU; GpuLimit if the GPU is too small for the model; GpuFault if the driver rejects a
        shader or buffer; DeviceLost.
        """
        named, layout = Tensors(tensors), reader.layout if reader else CodeLayout.plain(config.n_codebooks)
        if reader:
            device = reader.device
            tuning = tuning or Tuning.for_adapter(device.info)
            device.require(gpu_limits(config, tensors, tuning))
        else:
            adapter = await Adapter.request()
            tuning = tuning or Tuning.for_adapter(adapter.info)
            device = await adapter.device(gpu_limits(config, tensors, tuning), "tympan.mimi")
        n_slots = _n_slots(config)
        loader = Loader(device, MimiGpuKernels(Compiler(device), tuning, config, n_slots), config, named)
        try:
            async with device.error_scope("the Mimi encoder"):
                model = await loader.load(MAX_FRAMES, n_slots, named.n_rows(_HIDDEN), layout)
                return cls(config, device, model, tuning, is_shared=reader is not None)
        except BaseException:
            for buffer in loader.buffers:
                buffer.destroy()
            if reader is None:
                device.close()
            raise

    def new_state(self, position: int = 0) -> MimiGpuState:
        """Return a new stream. Its GPU memory is freed with the last reference to it."""
        return MimiGpuState(self, position)

    def start(self, state: MimiGpuState, frames: Float32) -> PendingCodes:
        """See `Encoder.start`. At most N_IN_FLIGHT calls of a stream may be pending.

        On a shared device, codes can be awaited only before the next call of the stream.
        Raises DeviceLost or GpuFault, here or when awaited.
        """
        n_frames = len(frames)
        assert frames.shape == (n_frames, FRAME_SAMPLES) and 0 < n_frames <= MAX_FRAMES, frames.shape
        self.device.check()
        layout, n_bytes = self.model.layout, n_frames * self.model.layout.row_bytes
        slot = None if self._is_shared else state.readback.acquire()
        self.write_inputs(state, frames)
        copies = [Copy(state.codes, slot, 0, n_bytes)] if slot else []
        self.queue.submit(state.dispatches(self.tuning, n_frames), copies)
        reading = state.readback.read(slot, n_bytes) if slot else None
        state.n_parts += -(-n_frames // PART_FRAMES)
        state.position += n_frames * POSITIONS_PER_FRAME
        state.n_calls = n_calls = state.n_calls + 1

        def is_current() -> bool:
            return state.n_calls == n_calls

        async def read() -> Int32:
            if reading is not None:
                return layout.read(await reading)
            self.device.check()
            assert is_current(), "the codes of this call have been overwritten"
            return layout.read(await self._content(state, n_bytes))

        on_gpu = GpuCodes(self.device, state.codes, layout, 0, n_frames, is_current)
        return PendingCodes(n_frames, read, on_gpu)

    def close(self) -> None:
        """Free the memory on the GPU, and the device unless it is shared."""
        self.inputs.destroy()
        for buffer in self.model.buffers:
            buffer.destroy()
        if not self._is_shared:
            self.device.close()

    async def _content(self, state: MimiGpuState, n_bytes: int) -> NDArray[np.uint8]:
        """Read back the codes of the last call."""
        slot = state.readback.acquire()
        self.queue.submit([], [Copy(state.codes, slot, 0, n_bytes)])
        return await state.readback.read(slot, n_bytes)

    def write_inputs(self, state: MimiGpuState, frames: Float32) -> None:
        """Write the inputs of one call: its place in the KV cache, its rotations, and its samples."""
        sizes, call, samples = self.config.transformer, self.inputs.host["call"], self.inputs.host["samples"]
        n_rows, n_before = len(frames) * POSITIONS_PER_FRAME, len(state.samples)
        n_positions = min(state.position - state.first, sizes.context)
        call[:_N_HEADER] = len(frames), state.n_calls % 2, state.position % self.model.n_slots, n_positions
        for i in range(-(-len(frames) // PART_FRAMES)):
            n_frames = min(PART_FRAMES, len(frames) - i * PART_FRAMES)
            self.inputs.host[f"part{i}"][:_N_HEADER] = n_frames, (state.n_parts + i) % 2, 0, 0
        rotation = Rotation.at(state.position, n_rows, sizes.head_width, sizes.max_period)
        angles = call[_N_HEADER : _N_HEADER + n_rows * sizes.head_width].view(np.float32)
        angles[0::2], angles[1::2] = rotation.cos.reshape(-1), rotation.sin.reshape(-1)
        samples[:n_before] = state.samples
        samples[n_before : n_before + frames.size] = frames.reshape(-1)
        state.samples = samples[frames.size : frames.size + n_before].copy()
        self.inputs.write(n_before + frames.size)


def gpu_limits(config: MimiConfig, tensors: Mapping[str, NDArray[Any]], tuning: Tuning) -> dict[str, int]:
    """Return the WebGPU limits, by name, that a device needs for an encoder. Raises BadModel."""
    return needed_limits(config, Tensors(tensors).n_rows(_HIDDEN), tuning, MAX_FRAMES, _n_slots(config))


def _n_slots(config: MimiConfig) -> int:
    """The slots of a KV cache: the context and the positions of a call."""
    return config.transformer.context + MAX_FRAMES * POSITIONS_PER_FRAME


def _destroy(buffers: Sequence[Buffer], readback: Readback) -> None:
    for buffer in buffers:
        buffer.destroy()
    readback.destroy()
