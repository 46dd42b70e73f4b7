"""The transformer through WebGPU: one small write, one pass and one submit a step, and a result read when awaited."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np

from tympan.arrays import Int32, softmax
from tympan.config import LMConfig
from tympan.gpu.buffers import WORD_BYTES, Buffer, InputBlock, Readback, Usage, upload
from tympan.gpu.device import Device
from tympan.gpu.kernel import Compiler, Copy, Queue
from tympan.lm.backend import Step
from tympan.lm.gpu_model import Model, Ring, needed_limits
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation

N_IN_FLIGHT = 8  # steps of one stream that may be started and not yet awaited


class State:
    """One stream: its rings, its text token, its position, and the commands of a step, bound to all of these once."""

    def __init__(self, device: Device, config: LMConfig, model: Model, inputs: InputBlock, position: int) -> None:
        self.position = self.first = position  # the first step takes slot 0 of the rings
        initial = np.array([config.text_card], np.uint32)
        self.token = upload(device, "lm.token", [initial], Usage.STORAGE | Usage.COPY_SRC | Usage.COPY_DST)
        rings = [Ring.new(device, config, layer.label) for layer in model.layers]
        self.dispatches = list(model.forward(inputs.device, self.token, rings))
        n_words = 1 + config.n_extra_heads * config.extra_head_width + config.text_card
        self.readback = Readback(device, "lm.said", WORD_BYTES * n_words, N_IN_FLIGHT)

        buffers = [self.token, *(buffer for ring in rings for buffer in (ring.keys, ring.values))]
        weakref.finalize(self, _destroy, buffers, self.readback)


class WebGPUBackend:
    """Implements `Backend`. At most N_IN_FLIGHT steps of a stream may wait to be awaited."""

    name = "webgpu"

    def __init__(self, config: LMConfig, device: Device, model: Model) -> None:
        self.config = config
        self.device = device
        self.runs_on = device.info.summary
        self._model = model
        self._queue = Queue(device, "lm.step")
        self._inputs = InputBlock(
            device,
            "lm.inputs",
            place=np.zeros(2, np.uint32),
            rotations=np.zeros((config.transformer.head_width // 2, 2), np.float32),
            **{group.label: group.first_rows for group in model.tables},
        )

    @classmethod
    async def create(cls, config: LMConfig, weights: LMWeights) -> WebGPUBackend:
        """Upload a model to the GPU. The weights may be dropped afterwards.

        Raises NoWebGPU, GpuLimit where the GPU is too small for the model, GpuFault where the driver refuses it.
        """
        device = await Device.request(needed_limits(config, weights))
        try:
            async with device.guard("the model"):
                return cls(config, device, await Model.load(Compiler(device), config, weights))
        except BaseException:
            device.close()
            raise

    def new_state(self, position: int = 0) -> State:
        """A fresh stream. Its memory on the GPU goes when the last reference to it does."""
        return State(self.device, self.config, self._model, self._inputs, position)

    def step(
        self, state: State, codes: Int32 | None, *, text: int | None = None, want_logits: bool = False
    ) -> Coroutine[Any, Any, Step]:
        """See `Backend.step`. Raises DeviceLost or GpuFault, here or when awaited."""
        self.device.check()
        config, vectors = self.config, self._model.vectors
        if codes is None:
            codes = np.full(config.n_codebooks, config.card, np.int32)
        assert codes.shape == (config.n_codebooks,), codes.shape
        assert codes.min() >= 0, codes
        assert codes.max() <= config.card, codes

        slot = state.readback.take()
        self._write_inputs(state, codes)
        if text is not None:
            state.token.write(self.device, np.array([text], np.uint32))
        sources = [(state.token, 1), (vectors.head_logits, config.n_extra_heads * config.extra_head_width)]
        if want_logits:
            sources.append((vectors.logits, config.text_card))
        copies = _gather(sources, slot)
        self._queue.submit(state.dispatches, copies)
        state.position += 1
        return self._read(state, slot, copies[-1].offset + copies[-1].n_bytes)

    def close(self) -> None:
        """Give the GPU back, with all its memory."""
        self.device.close()

    def _write_inputs(self, state: State, codes: Int32) -> None:
        sizes, host = self.config.transformer, self._inputs.host
        n_before = state.position - state.first
        host["place"][:] = n_before % sizes.context, min(n_before + 1, sizes.context)
        rotation = Rotation.at(state.position, 1, sizes.head_width, sizes.max_period)
        host["rotations"][:, 0], host["rotations"][:, 1] = rotation.cos[0], rotation.sin[0]
        for group in self._model.tables:
            host[group.label][:] = group.rows(codes)
        self._inputs.write()

    async def _read(self, state: State, slot: Buffer, n_bytes: int) -> Step:
        config = self.config
        n_heads, width = config.n_extra_heads, config.extra_head_width
        words = await state.readback.read(slot, n_bytes)
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
