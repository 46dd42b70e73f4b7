"""The transformer on WebGPU: one small write, one pass and one submit per step; the result is read when awaited."""

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
from tympan.lm.backend import Step, cache_place, step_codes
from tympan.lm.webgpu.kernels import KVFormat, Tuning, WebGPUKernels
from tympan.lm.webgpu.model import KVCache, Model, needed_limits
from tympan.lm.webgpu.selfcheck import check
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation

N_IN_FLIGHT = 8  # steps of one stream that may be pending


class WebGPUState:
    """One stream: its KV caches, text token and position, and the dispatches of a step, bound to these once."""

    def __init__(self, backend: WebGPUBackend, position: int) -> None:
        self.position = self.first = position  # the first step is written to slot 0 of the KV caches
        device, config, model = backend.device, backend.config, backend.model
        initial = np.array([config.text_card], np.uint32)
        self.token = upload(device, "lm.token", [initial], Usage.STORAGE | Usage.COPY_SRC)
        self.kv_caches = [KVCache.new(device, config, layer.label, backend.kv_format) for layer in model.layers]
        self.dispatches = list(model.forward(backend.inputs.device, self.token, self.kv_caches))
        n_words = 1 + config.n_extra_heads * config.extra_head_width + config.text_card
        self.readback = Readback(device, "lm.result", WORD_BYTES * n_words, N_IN_FLIGHT)

        buffers = [self.token, *(buffer for cache in self.kv_caches for buffer in (cache.keys, cache.values))]
        weakref.finalize(self, _destroy, buffers, self.readback)


class WebGPUBackend:
    """Implements `ReplayableBackend`. At most N_IN_FLIGHT steps of a stream may be pending."""

    name = "webgpu"

    def __init__(self, config: LMConfig, device: Device, model: Model, tuning: Tuning, kv_format: KVFormat) -> None:
        self.config = config
        self.device = device
        self.model = model
        self.tuning = tuning
        self.kv_format = kv_format
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
        cls, config: LMConfig, weights: LMWeights, *, kv_format: KVFormat = "f16", tuning: Tuning | None = None
    ) -> WebGPUBackend:
        """Upload a model to the GPU and check its results. The weights may be dropped afterwards.

        kv_format: of keys and values; f32 also disables all other rounding. tuning: the kernel parameters; by
        default those for the adapter, without subgroups if the self-check fails with them.
        Raises NoWebGPU; GpuLimit if the GPU is too small for the model; GpuFault if the driver rejects a shader or
        buffer; GpuWrong if the self-check fails.
        """
        adapter = await Adapter.request()
        chosen = tuning or Tuning.for_adapter(adapter.info, kv_format)
        try:
            return await cls._create(adapter, config, weights, kv_format, chosen)
        except GpuWrong:
            if tuning or not chosen.subgroup_width:
                raise
        without_subgroups = replace(chosen, subgroup_width=0)
        return await cls._create(await Adapter.request(), config, weights, kv_format, without_subgroups)

    @classmethod
    async def _create(
        cls, adapter: Adapter, config: LMConfig, weights: LMWeights, kv_format: KVFormat, tuning: Tuning
    ) -> WebGPUBackend:
        device = await adapter.device(needed_limits(config, weights, tuning, kv_format))
        try:
            async with device.error_scope("the model"):
                kernels = WebGPUKernels(Compiler(device), tuning, config.transformer, kv_format)
                model = await Model.load(device, kernels, config, weights)
                backend = cls(config, device, model, tuning, kv_format)
            await check(backend, weights)
        except BaseException:
            device.close()
            raise
        return backend

    def new_state(self, position: int = 0) -> WebGPUState:
        """Create a stream. Its GPU memory is freed with the last reference to it."""
        return WebGPUState(self, position)

    def step(
        self, state: WebGPUState, codes: Int32 | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `ReplayableBackend.step`. Raises DeviceLost or GpuFault, here or when awaited."""
        self.device.check()
        slot = state.readback.acquire()
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
        """Release the GPU and free all its memory."""
        self.device.close()

    def write_inputs(self, state: WebGPUState, codes: Int32 | None) -> None:
        """Write the inputs of one step: its slot of the KV cache, its rotation, and its rows of the tables."""
        config, sizes, host = self.config, self.config.transformer, self.inputs.host
        codes = step_codes(config, codes)
        host["step"][:2] = cache_place(state.position - state.first, sizes.context)
        rotation = Rotation.at(state.position, 1, sizes.head_width, sizes.max_period)
        host["step"][2::2], host["step"][3::2] = rotation.cos[0].view(np.uint32), rotation.sin[0].view(np.uint32)
        for group in self.model.tables:
            host[group.label][:] = group.rows(codes)
        self.inputs.write()


class PendingStep:
    """A step whose result is being read back."""

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
    """Return dispatches that copy the first words of each source to the target, one after another."""
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
