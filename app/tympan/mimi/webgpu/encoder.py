"""The encoder on WebGPU: one write of samples, one pass and one submit per call; the codes are read when awaited."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
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
N_IN_FLIGHT = 4  # calls of one stream that may be pending
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
        n_bytes = WORD_BYTES * MAX_FRAMES * config.n_codebooks
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

    def __init__(self, config: MimiConfig, device: Device, model: Model, tuning: Tuning) -> None:
        self.config, self.device, self.model, self.tuning = config, device, model, tuning
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
        cls, config: MimiConfig, tensors: Mapping[str, NDArray[Any]], *, tuning: Tuning | None = None
    ) -> MimiGpu:
        """Upload an encoder to the GPU.

        tensors: official name -> array; uploaded as stored if float32, float16 or int8. tuning: the kernel parameters;
        by default those for the adapter.
        Raises BadModel; NoWebGPU; GpuLimit if the GPU is too small for the model; GpuFault if the driver rejects a
        shader or buffer.
        """
        adapter, named = await Adapter.request(), Tensors(tensors)
        tuning = tuning or Tuning.for_adapter(adapter.info)
        hidden = named.n_rows("encoder_transformer.transformer.layers.0.linear1.weight")
        n_slots = config.transformer.context + MAX_FRAMES * POSITIONS_PER_FRAME
        device = await adapter.device(needed_limits(config, hidden, tuning, MAX_FRAMES, n_slots), "tympan.mimi")
        try:
            async with device.error_scope("the Mimi encoder"):
                library = MimiGpuKernels(Compiler(device), tuning, config, n_slots)
                model = await Loader(device, library, config, named).load(MAX_FRAMES, n_slots, hidden)
                return cls(config, device, model, tuning)
        except BaseException:
            device.close()
            raise

    def new_state(self, position: int = 0) -> MimiGpuState:
        """Return a new stream. Its GPU memory is freed with the last reference to it."""
        return MimiGpuState(self, position)

    def start(self, state: MimiGpuState, frames: Float32) -> Awaitable[Int32]:
        """See `Encoder.start`. At most N_IN_FLIGHT calls of a stream may be pending.

        Raises DeviceLost or GpuFault, here or when awaited.
        """
        n_frames = len(frames)
        assert frames.shape == (n_frames, FRAME_SAMPLES) and 0 < n_frames <= MAX_FRAMES, frames.shape
        self.device.check()
        slot, n_bytes = state.readback.acquire(), WORD_BYTES * n_frames * self.config.n_codebooks
        self.write_inputs(state, frames)
        self.queue.submit(state.dispatches(self.tuning, n_frames), [Copy(state.codes, slot, 0, n_bytes)])
        state.n_calls += 1
        state.n_parts += -(-n_frames // PART_FRAMES)
        state.position += n_frames * POSITIONS_PER_FRAME
        return PendingCodes(self.config.n_codebooks, state.readback.read(slot, n_bytes))

    def close(self) -> None:
        """Release the GPU and free all its memory."""
        self.device.close()

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


class PendingCodes:
    """Codes that are being read back."""

    def __init__(self, n_codebooks: int, reading: Awaitable[NDArray[np.uint8]]) -> None:
        self._n_codebooks, self._reading = n_codebooks, reading

    def __await__(self) -> Generator[Any, None, Int32]:
        words = yield from self._reading.__await__()
        return words.view(np.int32).reshape(-1, self._n_codebooks)


def _destroy(buffers: Sequence[Buffer], readback: Readback) -> None:
    for buffer in buffers:
        buffer.destroy()
    readback.destroy()
