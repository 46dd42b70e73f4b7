"""The transformer through WebGPU: one small write, one pass and one submit a step, and a result read when awaited."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Int32, softmax
from tympan.config import LMConfig
from tympan.errors import GpuWrong
from tympan.gpu.buffers import WORD_BYTES, Buffer, InputBlock, Readback, Usage, upload
from tympan.gpu.device import Adapter, Device
from tympan.gpu.kernel import Compiler, Copy, Queue
from tympan.lm.backend import Step
from tympan.lm.webgpu.kernels import KVFormat, Tuning, WebGPUKernels
from tympan.lm.webgpu.model import KVCache, Model, needed_limits
from tympan.lm.webgpu.selfcheck import check
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation

N_IN_FLIGHT = 8  # steps of one stream that may be started and not yet awaited


class State:
    """One stream: its rings, its text token, its position, and the commands of a step, bound to all of these once."""

    def __init__(self, backend: WebGPUBackend, position: int) -> None:
        self.position = self.first = position  # the first step takes slot 0 of the rings
        device, config, model = backend.device, backend.config, backend.model
        initial = np.array([config.text_card], np.uint32)
        self.token = upload(device, "lm.token", [initial], Usage.STORAGE | Usage.COPY_SRC)
        self.rings = [KVCache.new(device, config, layer.label, backend.ring) for layer in model.layers]
        self.dispatches = list(model.forward(backend.inputs.device, self.token, self.rings))
        n_words = 1 + config.n_extra_heads * config.extra_head_width + config.text_card
        self.readback = Readback(device, "lm.said", WORD_BYTES * n_words, N_IN_FLIGHT)

        buffers = [self.token, *(buffer for ring in self.rings for buffer in (ring.keys, ring.values))]
        weakref.finalize(self, _destroy, buffers, self.readback)


class WebGPUBackend:
    """Implements `Backend`. At most N_IN_FLIGHT steps of a stream may wait to be awaited."""

    name = "webgpu"

    def __init__(self, config: LMConfig, device: Device, model: Model, tuning: Tuning, ring: KVFormat) -> None:
        self.config = config
        self.device = device
        self.model = model
        self.tuning = tuning
        self.ring = ring
        self.runs_on = device.info.summary
        self.queue = Queue(device, "lm.step")
        self.inputs = InputBlock(
            device,
            "lm.inputs",
            step=np.zeros(2 + config.transformer.head_width, np.uint32),
            **{group.label: group.first_rows for group in model.tables},
        )

    @classmethod
    async def create(
        cls, config: LMConfig, weights: LMWeights, *, ring: KVFormat = "f16", tuning: Tuning | None = None
    ) -> WebGPUBackend:
        """Upload a model to the GPU and check that it computes. The weights may be dropped afterwards.

        ring: how keys and values are kept; f32 rounds nothing else either. tuning: how the kernels are laid out; what
        suits the adapter by default, without subgroups where these turn out to be wrong.
        Raises NoWebGPU, GpuLimit where the GPU is too small for the model, GpuFault where the driver refuses it,
        GpuWrong.
        """
        adapter = await Adapter.request()
        chosen = tuning or Tuning.of(adapter.info, ring)
        try:
            return await cls._create(adapter, config, weights, ring, chosen)
        except GpuWrong:
            if tuning or not chosen.subgroup_width:
                raise
        return await cls._create(await Adapter.request(), config, weights, ring, replace(chosen, subgroup_width=0))

    @classmethod
    async def _create(
        cls, adapter: Adapter, config: LMConfig, weights: LMWeights, ring: KVFormat, tuning: Tuning
    ) -> WebGPUBackend:
        device = await adapter.device(needed_limits(config, weights, tuning, ring))
        try:
            async with device.guard("the model"):
                library = WebGPUKernels(Compiler(device), tuning, config.transformer, ring)
                backend = cls(config, device, await Model.load(device, library, config, weights), tuning, ring)
            await check(backend, weights)
        except BaseException:
            device.close()
            raise
        return backend

    def new_state(self, position: int = 0) -> State:
        """A fresh stream. Its memory on the GPU goes when the last reference to it does."""
        return State(self, position)

    def step(
        self, state: State, codes: Int32 | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `Backend.step`. Raises DeviceLost or GpuFault, here or when awaited."""
        self.device.check()
        slot = state.readback.take()
        self.write_inputs(state, codes)
        if text is not None:
            state.token.write(self.device, np.array([text], np.uint32))
        config, vectors = self.config, self.model.vectors
        sources = [(state.token, 1), (vectors.head_logits, config.n_extra_heads * config.extra_head_width)]
        if want_logits:
            sources.append((vectors.logits, config.text_card))
        copies = _gather(sources, slot)
        self.queue.submit(state.dispatches, copies)
        state.position += 1
        return PendingStep(config, state.readback.read(slot, copies[-1].offset + copies[-1].n_bytes))

    def close(self) -> None:
        """Give the GPU back, with all its memory."""
        self.device.close()

    def write_inputs(self, state: State, codes: Int32 | None) -> None:
        """Send what the kernels of one step read: where it is in the ring, its rotation, its rows of the tables."""
        config, sizes, host = self.config, self.config.transformer, self.inputs.host
        if codes is None:
            codes = np.full(config.n_codebooks, config.card, np.int32)
        assert codes.shape == (config.n_codebooks,), codes.shape
        assert (codes.astype(np.uint32) <= config.card).all(), codes  # a negative one is a large one

        n_before = state.position - state.first
        host["step"][:2] = n_before % sizes.context, min(n_before + 1, sizes.context)
        rotation = Rotation.at(state.position, 1, sizes.head_width, sizes.max_period)
        host["step"][2::2], host["step"][3::2] = rotation.cos[0].view(np.uint32), rotation.sin[0].view(np.uint32)
        for group in self.model.tables:
            host[group.label][:] = group.rows(codes)
        self.inputs.write()


class PendingStep:
    """A step on its way."""

    def __init__(self, config: LMConfig, reading: Awaitable[NDArray[np.uint8]]) -> None:
        self._config, self._reading = config, reading

    def __await__(self) -> Generator[Any, None, Step]:
        n_heads, width = self._config.n_extra_heads, self._config.extra_head_width
        words = yield from self._reading.__await__()
        token, heads, logits = np.split(words.view(np.float32), [1, 1 + n_heads * width])
        return Step(
            token=int(token.view(np.uint32)[0]),
            logits=logits if logits.size else None,
            extra_heads=softmax(heads.reshape(n_heads, width)) if n_heads else None,
        )


def _gather(sources: Sequence[tuple[Buffer, int]], target: Buffer) -> list[Copy]:
    """Copies that put the first words of each source, one after another, into the target."""
    copies, offset = [], 0
    for source, n_words in sources:
        if n_words:
            copies.append(Copy(source, target, offset, WORD_BYTES * n_words))
            offset += WORD_BYTES * n_words
    return copies


def _destroy(buffers: Sequence[Buffer], readback: Readback) -> None:
    for buffer in buffers:
        buffer.destroy()
    readback.destroy()
