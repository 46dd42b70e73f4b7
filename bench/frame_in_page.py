"""The part of bench/frame.py that runs in the page."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from pyodide.http import pyfetch

from bench.lm_webgpu_in_page import time_ms
from bench.mimi_webgpu_in_page import Fetched
from bench.random_lm import random_lm
from tympan.arrays import Float32, Int32
from tympan.codes import readable
from tympan.config import FIRST_TEXT_ID, FRAME_SAMPLES, LMConfig, MimiConfig
from tympan.gpu.kernel import Dispatch
from tympan.lm.backend import Step
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.lm.webgpu.backend import WebGPUBackend
from tympan.mimi.selection import limits_on_gpu
from tympan.mimi.webgpu.encoder import MimiGpu
from tympan.weights.safetensors import SafetensorsFile

N_ROUNDS = 6  # in which the streams take turns; the first one is not counted
MAX_WORDS, MAX_TOKENS = 3, 4  # of a term, and of a word
BOOST = 2.0


@dataclass
class _Stream:
    """A live stream through both stages, each frame awaited before the next."""

    mimi: MimiGpu
    lm: WebGPUBackend
    terms: TermTrie
    frame_ms: list[float] = field(default_factory=list)
    start_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._mimi_state, self._lm_state = self.mimi.new_state(), self.lm.new_state(terms=self.terms)

    async def run(self, frames: Float32, is_counted: bool) -> None:
        """frames: (n, 1920)."""
        for frame in frames:
            started_s = perf_counter()
            codes = await readable(self.mimi.start(self._mimi_state, frame[None]), self.lm.code_reader)
            step: Awaitable[Step] = self.lm.step(self._lm_state, codes[0] if isinstance(codes, np.ndarray) else codes)
            start_ms = (perf_counter() - started_s) * 1000
            await step
            if is_counted:
                self.frame_ms.append((perf_counter() - started_s) * 1000)
                self.start_ms.append(start_ms)


async def measure(
    config_json: dict[str, Any],
    hidden: int,
    mimi_json: dict[str, Any],
    mimi_url: str,
    audio_url: str,
    n_frames: int,
    n_terms: int,
) -> dict[str, Any]:
    """Time a frame of live audio through both stages. n_frames: per round and stream."""
    config = LMConfig.from_json(config_json)
    mimi_config = MimiConfig.from_json(mimi_json, config.n_codebooks)
    tensors = SafetensorsFile(Fetched(await (await pyfetch(mimi_url)).js_response.arrayBuffer()), mimi_url)
    samples = np.frombuffer(await (await pyfetch(audio_url)).bytes(), np.float32)
    weights = random_lm(config, hidden)
    lm = await WebGPUBackend.create(config, weights, wants=partial(limits_on_gpu, mimi_config, tensors))
    shared = await MimiGpu.create(mimi_config, tensors, reader=lm.code_reader)
    alone = await MimiGpu.create(mimi_config, tensors)
    terms = random_terms(config, n_terms)
    streams = {
        "one_device": _Stream(shared, lm, NO_TERMS),
        "one_device_terms": _Stream(shared, lm, terms),
        "two_devices": _Stream(alone, lm, NO_TERMS),
    }
    frames = np.resize(samples, N_ROUNDS * n_frames * FRAME_SAMPLES).reshape(N_ROUNDS, n_frames, FRAME_SAMPLES)
    for i, part in enumerate(frames):
        for stream in streams.values():
            await stream.run(part, is_counted=i > 0)
    print({name: float(np.median(stream.frame_ms)) for name, stream in streams.items()})
    kernels = await _kernels_ms(lm, terms)
    result = {
        "runs_on": lm.runs_on,
        "frame_ms": {name: stream.frame_ms for name, stream in streams.items()},
        "start_ms": {name: stream.start_ms for name, stream in streams.items()},
        "kernels_ms": kernels,
        "n_nodes": len(terms.nodes),
    }
    alone.close()
    shared.close()
    lm.close()
    return result


async def _kernels_ms(lm: WebGPUBackend, terms: TermTrie) -> dict[str, list[float]]:
    """The transformer's step and the kernel that selects a token, without and with terms, by the GPU's clock."""
    dispatches: dict[str, list[Dispatch]] = {}
    states = []  # their buffers must live as long as the dispatches
    for suffix, trie in {"": NO_TERMS, "_terms": terms}.items():
        state = lm.new_state(terms=trie)
        lm.write_inputs(state, np.zeros((1, lm.config.n_codebooks), np.int32))
        states.append(state)
        dispatches["decode" + suffix] = [d for d in state.dispatches if d.label == "lm.decode"]
        dispatches["step" + suffix] = list(state.dispatches)
    times_ms: dict[str, list[float]] = {name: [] for name in dispatches}
    for _ in range(N_ROUNDS):
        for name, of in dispatches.items():
            times_ms[name].append(await time_ms(lm.device, of, n_rounds=1))
    return times_ms


def random_terms(config: LMConfig, n_terms: int) -> TermTrie:
    """A vocabulary of random tokens."""
    rng = np.random.default_rng(3)

    def word() -> Int32:
        return rng.integers(FIRST_TEXT_ID, config.text_card, rng.integers(1, MAX_TOKENS + 1)).astype(np.int32)

    paths = [[word().tolist() for _ in range(rng.integers(1, MAX_WORDS + 1))] for _ in range(n_terms)]
    return TermTrie.build([(path, BOOST) for path in paths])
