"""The transformer on WebGPU: one small write, one pass and one submit per step; the result is read when awaited."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import softmax
from tympan.codes import CodeReader, Codes, PendingCodes
from tympan.config import LMConfig
from tympan.errors import GpuFault, GpuWrong
from tympan.gpu.buffers import (
    BINDING_ALIGNMENT_BYTES,
    WORD_BYTES,
    Buffer,
    InputBlock,
    Readback,
    Usage,
    align,
    upload,
)
from tympan.gpu.device import Adapter, AdapterInfo, Device
from tympan.gpu.kernel import CommandList, Compiler, Copy, Dispatch, Queue
from tympan.lm.backend import Step, cache_place, check_codes, step_codes
from tympan.lm.decoding import DECODED, candidates_of, initial
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.lm.webgpu.kernels import KVFormat, Tuning, WebGPUKernels
from tympan.lm.webgpu.model import KVCache, Model, StepResult, needed_limits
from tympan.lm.webgpu.selfcheck import check
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation

N_IN_FLIGHT = 16  # submits of one stream that may be pending
MAX_STEPS = 8  # of a submit


class WebGPUState:
    """One stream: its KV caches, text token and position, and the dispatches of its steps, bound to these once."""

    def __init__(self, backend: WebGPUBackend, position: int, terms: TermTrie) -> None:
        self.position = self.first = position  # the first step is written to slot 0 of the KV caches
        device, config, model = backend.device, backend.config, backend.model
        self.decoded = upload(device, "lm.decoded", [initial(config.text_card)], Usage.STORAGE | Usage.COPY_SRC)
        nodes = upload(device, "lm.terms", [terms.nodes])
        self.kv_caches = [KVCache.new(device, config, layer.label, backend.kv_format) for layer in model.layers]
        n_head_bytes = WORD_BYTES * config.n_extra_heads * config.extra_head_width
        self.result_bytes = BINDING_ALIGNMENT_BYTES + align(n_head_bytes, BINDING_ALIGNMENT_BYTES)  # of a step
        usage = Usage.STORAGE | Usage.COPY_SRC
        self.results = Buffer.new(device, "lm.results", MAX_STEPS * self.result_bytes, usage)
        shared: dict[str, Dispatch] = {}
        self.steps = [
            CommandList(
                model.forward(inputs, self.decoded, nodes, self.kv_caches, self._result(i, n_head_bytes), shared)
            )
            for i, inputs in enumerate(backend.step_inputs)
        ]
        self._commands = {1: self.steps[0]}
        n_bytes = MAX_STEPS * (self.result_bytes + backend.code_reader.layout.row_bytes) + WORD_BYTES * config.text_card
        self.readback = Readback(device, "lm.result", n_bytes, N_IN_FLIGHT)

        buffers = [self.decoded, nodes, self.results]
        buffers += [buffer for cache in self.kv_caches for buffer in (cache.keys, cache.values)]
        weakref.finalize(self, _destroy, buffers, self.readback)

    @property
    def dispatches(self) -> CommandList:
        """The dispatches of a single step."""
        return self.steps[0]

    def commands(self, n_steps: int) -> CommandList:
        """Return the dispatches of the next n_steps steps."""
        if n_steps not in self._commands:
            self._commands[n_steps] = CommandList(chain.from_iterable(self.steps[:n_steps]))
        return self._commands[n_steps]

    def _result(self, i: int, n_head_bytes: int) -> StepResult:
        start = i * self.result_bytes
        decoded = self.results.range(f"decoded{i}", start, DECODED.itemsize)
        heads = self.results.range(f"heads{i}", start + BINDING_ALIGNMENT_BYTES, max(n_head_bytes, WORD_BYTES))
        return StepResult(decoded, heads if n_head_bytes else decoded)


class WebGPUBackend:
    """Implements `ReplayableBackend`. At most N_IN_FLIGHT submits of a stream may be pending."""

    name = "webgpu"
    max_steps = MAX_STEPS

    def __init__(self, config: LMConfig, device: Device, model: Model, tuning: Tuning, kv_format: KVFormat) -> None:
        self.config = config
        self.device = device
        self.model = model
        self.tuning = tuning
        self.kv_format = kv_format
        self.runs_on = device.info.summary
        self.queue = Queue(device, "lm.step")
        self.code_reader = CodeReader(device, model.code_layout(config))
        n_words = 2 + config.transformer.head_width  # of a place in the KV cache and a rotation
        self.inputs = InputBlock(
            device,
            "lm.inputs",
            rows=np.zeros((MAX_STEPS, self.code_reader.layout.n_words), np.uint32),
            steps=np.zeros((MAX_STEPS, align(n_words, BINDING_ALIGNMENT_BYTES // WORD_BYTES)), np.uint32),
        )
        self.step_inputs = [
            {
                "step": self._input("steps", i, range(n_words), f"step{i}"),
                **{group.label: self._input("rows", i, group.columns, f"{group.label}{i}") for group in model.tables},
            }
            for i in range(MAX_STEPS)
        ]

    def _input(self, name: str, i: int, columns: range, label: str) -> Buffer:
        """Return the range of an input array that step i of a submit reads."""
        offset = i * self.inputs.host[name].shape[1] + columns.start
        return self.inputs.range(name, label, WORD_BYTES * offset, WORD_BYTES * len(columns))

    @classmethod
    async def create(
        cls,
        config: LMConfig,
        weights: LMWeights,
        *,
        kv_format: KVFormat = "f16",
        tuning: Tuning | None = None,
        wants: Callable[[AdapterInfo], Mapping[str, int]] | None = None,
    ) -> WebGPUBackend:
        """Upload a model to the GPU and check its results. The weights may be dropped afterwards.

        kv_format: of keys and values; f32 also disables all other rounding. tuning: the kernel parameters; by
        default those for the adapter, without subgroups if the browser rejects them or the self-check fails with them.
        wants: returns the limits, by name, that Mimi needs where it shares the device; it has those that the adapter
        offers.
        Raises NoWebGPU; GpuLimit if the GPU is too small for the model; GpuFault if the driver rejects a shader or
        buffer; GpuWrong if the self-check fails.
        """
        adapter = await Adapter.request()
        chosen = tuning or Tuning.for_adapter(adapter.info, kv_format)
        limits = wants(adapter.info) if wants else {}
        try:
            return await cls._create(adapter, config, weights, kv_format, chosen, limits)
        except (GpuWrong, GpuFault):  # some browsers offer subgroups without parsing them
            if tuning or not chosen.subgroup_width:
                raise
        without_subgroups = replace(chosen, subgroup_width=0)
        return await cls._create(await Adapter.request(), config, weights, kv_format, without_subgroups, limits)

    @classmethod
    async def _create(
        cls,
        adapter: Adapter,
        config: LMConfig,
        weights: LMWeights,
        kv_format: KVFormat,
        tuning: Tuning,
        wants: Mapping[str, int],
    ) -> WebGPUBackend:
        device = await adapter.device(needed_limits(config, weights, tuning, kv_format), wants=wants)
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

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> WebGPUState:
        """Create a stream. Its GPU memory is freed with the last reference to it."""
        return WebGPUState(self, position, terms)

    def step(
        self, state: WebGPUState, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> Awaitable[Step]:
        """See `ReplayableBackend.step`. Raises DeviceLost or GpuFault, here or when awaited."""
        given = codes if isinstance(codes, PendingCodes) else step_codes(self.config, codes)[None]
        [pending] = self._start(state, given, [None] if codes is None else given, text, want_logits)
        return pending

    def steps(self, state: WebGPUState, codes: Codes) -> Sequence[Awaitable[Step]]:
        """See `Backend.steps`. Raises DeviceLost or GpuFault, here or when awaited."""
        if not isinstance(codes, PendingCodes):
            check_codes(self.config, codes)
        return self._start(state, codes, codes)

    def _start(
        self,
        state: WebGPUState,
        codes: Codes,
        returned: Iterable[Codes | None],
        text: int | None = None,
        want_logits: bool = False,
    ) -> Sequence[Awaitable[Step]]:
        """Start one step for each row of codes, (n, K), in one submit.

        returned: the codes in the result of each step. want_logits: for a single step only.
        """
        n_steps = len(codes)
        assert 0 < n_steps <= MAX_STEPS and (n_steps == 1 or not want_logits), n_steps
        self.device.check()
        slot = state.readback.acquire()
        self.write_inputs(state, codes)
        if text is not None:
            state.decoded.write(self.device, np.array([text], np.uint32))  # its first word
        n_results, n_rows, first = n_steps * state.result_bytes, 0, list[Copy]()
        copies = [Copy(state.results, slot, 0, n_results)]
        if isinstance(codes, PendingCodes):
            first.append(self._copy_to_inputs(codes))
            n_rows = first[0].n_bytes
            copies.append(replace(first[0], target=slot, offset=n_results))
        n_bytes = n_results + n_rows
        if want_logits:
            copies.append(Copy(self.model.vectors.logits, slot, n_bytes, WORD_BYTES * self.config.text_card))
            n_bytes += WORD_BYTES * self.config.text_card
        self.queue.submit(state.commands(n_steps), copies, first=first)
        state.position += n_steps
        reading = _SharedRead(state.readback.read(slot, n_bytes), n_results, n_rows)
        return [PendingStep(self, reading, i, state.result_bytes, of_step) for i, of_step in enumerate(returned)]

    def _copy_to_inputs(self, codes: PendingCodes) -> Copy:
        """Return the copy of codes on the GPU to the inputs of the next steps."""
        source, layout = codes.on_gpu, self.code_reader.layout
        assert source and source.device is self.device and source.layout is layout, "`codes.readable` was not called"
        assert source.is_current(), "the codes have been overwritten"
        n_bytes = source.n_frames * layout.row_bytes
        return Copy(source.buffer, self.inputs.device["rows"], 0, n_bytes, source.first * layout.row_bytes)

    def close(self) -> None:
        """Release the GPU and free all its memory."""
        self.device.close()

    def write_inputs(self, state: WebGPUState, codes: Codes) -> None:
        """Write the inputs of the next steps, one for each row of codes: slot, rotation, and rows of the tables.

        The rows for codes on the GPU are copied there later.
        """
        sizes, n_steps = self.config.transformer, len(codes)
        step = self.inputs.host["steps"][:n_steps, : 2 + sizes.head_width]
        for i in range(n_steps):
            step[i, :2] = cache_place(state.position + i - state.first, sizes.context)
        rotation = Rotation.at(state.position, n_steps, sizes.head_width, sizes.max_period)
        step[:, 2::2], step[:, 3::2] = rotation.cos.view(np.uint32), rotation.sin.view(np.uint32)
        if not isinstance(codes, PendingCodes):
            self.code_reader.layout.write(self.inputs.host["rows"][:n_steps], codes)
        self.inputs.write(n_steps * self.inputs.host["steps"].shape[1])


class _SharedRead:
    """A result that several steps await."""

    def __init__(self, reading: Awaitable[NDArray[np.uint8]], n_results: int, n_rows: int) -> None:
        """n_results, n_rows: bytes of the results of the steps and of the rows of codes; the rest are logits."""
        self._reading, self._ends = reading, [n_results, n_results + n_rows]
        self._parts: list[NDArray[np.uint8]] | None = None
        self._lock = asyncio.Lock()

    async def parts(self) -> list[NDArray[np.uint8]]:
        """Return the bytes of results, rows and logits. Raises DeviceLost or GpuFault, each time it is called."""
        async with self._lock:
            if self._parts is None:
                self._parts = np.split(await self._reading, self._ends)
        return self._parts


class PendingStep:
    """A step whose result is being read back."""

    def __init__(self, backend: WebGPUBackend, reading: _SharedRead, i: int, n_bytes: int, codes: Codes | None) -> None:
        """i: of the steps whose results, of n_bytes each, are read together. codes: those that it reads."""
        self._config, self._layout, self._reading = backend.config, backend.code_reader.layout, reading
        self._i, self._n_bytes, self._codes = i, n_bytes, codes

    def __await__(self) -> Generator[Any, None, Step]:
        n_heads, width = self._config.n_extra_heads, self._config.extra_head_width
        results, rows, logits = yield from self._reading.parts().__await__()
        result = results[self._i * self._n_bytes :]
        first, heads = BINDING_ALIGNMENT_BYTES, None
        if n_heads:
            values = result[first : first + WORD_BYTES * n_heads * width].view(np.float32)
            heads = softmax(values.reshape(n_heads, width))
        selected, others = candidates_of(result[: DECODED.itemsize].view(DECODED))
        codes = self._layout.read(rows)[self._i] if isinstance(self._codes, PendingCodes) else self._codes
        kept = logits.view(np.float32) if logits.size else None
        return Step(selected.token, selected.probability, others, kept, heads, codes)


def _destroy(buffers: Sequence[Buffer], readback: Readback) -> None:
    for buffer in buffers:
        buffer.destroy()
    readback.destroy()
