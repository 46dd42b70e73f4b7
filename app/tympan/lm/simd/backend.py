"""The transformer on the CPU, computed by the side module: one thread, Q4 weights, int16 KV cache."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tympan.arrays import Int32, softmax
from tympan.codes import CodeReader, Codes
from tympan.config import LMConfig
from tympan.lm.backend import CompletedStep, Step, cache_place, step_codes
from tympan.lm.decoding import candidates_of
from tympan.lm.simd.kernels import Call, SimdKernels, simd_kernels
from tympan.lm.simd.model import Model
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation
from tympan.wasm import module

SHOWN = {"relaxed": "CPU (relaxed SIMD)", "simd": "CPU (SIMD)"}


class SimdState:
    """One stream: its KV caches, its last text token, its position, and the kernel calls of a step, bound once.

    The KV caches are allocated at the first step: by then the previous stream's caches have been freed.
    """

    def __init__(self, kernels: SimdKernels, model: Model, position: int, terms: TermTrie) -> None:
        self._kernels, self._model, self._terms = kernels, model, terms
        self.position = self.first = position  # the first step is written to slot 0 of the caches
        self.inputs, self.outputs = model.new_inputs(), model.new_outputs()

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The kernel calls of a step, in order."""
        kv_caches = self._model.new_kv_caches()
        return tuple(self._model.forward(self._kernels, self.inputs, kv_caches, self.outputs, self._terms))


class SimdBackend:
    """Implements `Backend`. `step` returns when the step is complete.

    Q4 matrices are multiplied with activations rounded to int16, with one scale per 32 activations.
    """

    name = "simd"
    code_reader: CodeReader | None = None
    max_steps = 1

    def __init__(self, config: LMConfig, kernels: SimdKernels, model: Model) -> None:
        self.config, self.runs_on = config, SHOWN[module.level()]
        self._kernels, self._model = kernels, model

    @classmethod
    async def create(cls, config: LMConfig, weights: LMWeights) -> SimdBackend:
        """Pack the weights, which may be freed afterwards. Requires the side module. Raises BadModel."""
        kernels = simd_kernels()
        assert kernels is not None, module.level()
        return cls(config, kernels, await Model.load(kernels, config, weights))

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> SimdState:
        return SimdState(self._kernels, self._model, position, terms)

    def step(
        self, state: SimdState, codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        """See `Backend.step`."""
        config, decoded = self.config, state.outputs.decoded
        if text is not None:
            decoded["tokens"][0, 0] = text
        read = step_codes(config, codes)
        self._write_inputs(state, read, int(decoded["tokens"][0, 0]))
        for call in state.calls:
            call()
        state.position += 1
        logits, head_logits = state.outputs.logits, state.outputs.head_logits
        decoded["log_probabilities"] -= np.log(state.outputs.total)
        selected, others = candidates_of(decoded)
        heads = softmax(head_logits.reshape(config.n_extra_heads, -1)) if config.n_extra_heads else None
        kept = logits.copy() if want_logits else None
        return CompletedStep(
            Step(selected.token, selected.probability, others, kept, heads, None if codes is None else read)
        )

    def steps(self, state: SimdState, codes: Codes) -> list[CompletedStep]:
        """See `Backend.steps`."""
        return [self.step(state, frame) for frame in codes]

    def close(self) -> None:
        """Do nothing: Python frees the memory with the object."""

    def _write_inputs(self, state: SimdState, codes: Int32, text: int) -> None:
        sizes, inputs = self.config.transformer, state.inputs
        for group, rows in zip(self._model.tables, inputs.rows, strict=True):
            group.write_rows(rows, codes, text)
        inputs.place[:] = cache_place(state.position - state.first, sizes.context)
        rotation = Rotation.at(state.position, 1, sizes.head_width, sizes.max_period)
        inputs.cos[:], inputs.sin[:] = rotation.cos[0], rotation.sin[0]
