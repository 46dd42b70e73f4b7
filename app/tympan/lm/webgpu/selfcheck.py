"""Self-check: compares one step on the GPU, with the model's weights, with numpy before the backend is used.

Some drivers return at once from a kernel and leave zeros. A few rows are compared for each kernel of the first layer
and for the head. The input of each kernel is what the GPU computed before, so numpy computes only these rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.errors import GpuWrong
from tympan.gpu.buffers import Buffer, align
from tympan.lm.backend import step_codes
from tympan.lm.decoding import DECODED, decode, initial
from tympan.lm.reference import attention, rms_norm, silu
from tympan.lm.terms import NO_TERMS
from tympan.lm.webgpu.kernels import VEC4
from tympan.lm.weights import LMWeights
from tympan.rope import Rotation
from tympan.weights.matrix import Matrix, rows_of

if TYPE_CHECKING:
    from tympan.lm.webgpu.backend import WebGPUBackend

N_ROWS = 16
POSITION = 1  # the second step, whose attention has two keys
TOLERANCE = 2e-3  # of the largest value: accepts half floats, rejects a wrong kernel


async def check(backend: WebGPUBackend, weights: LMWeights) -> None:
    """Check the first layer and the head at the second step of a stream. Raises GpuWrong or GpuFault."""
    probe, config, layer, v = _Probe(backend), backend.config, weights.layers[0], backend.model.vectors
    embed = [group.label for group in backend.model.tables]
    probe.write(None)
    probe.run(*embed, "lm.layer0.qkv")
    probe.state.position = POSITION
    codes = np.arange(config.n_codebooks, dtype=np.int32) % config.card
    probe.write(codes)

    probe.run(*embed)
    x = (await probe.read(v.x))[: config.transformer.d]
    tables = [rows_of(table, [int(code)]) for table, code in zip(weights.embeddings, codes, strict=True)]
    _compare("embed", x, sum(tables, rows_of(weights.text_embedding, [config.text_card]))[0])

    probe.run("lm.layer0.qkv")
    attended = await _attended(probe, layer.in_proj, rms_norm(x, layer.norm1))
    probe.run("lm.layer0.attention", "lm.layer0.out_proj")
    rows = _sample_rows(config.transformer.d)
    before, x = x, (await probe.read(v.x))[: config.transformer.d]
    _compare("attention", x[rows], before[rows] + rows_of(layer.out_proj, rows) @ attended)

    probe.run("lm.layer0.gate_up")
    hidden = _deinterleaved(await probe.read(v.hidden))[: weights.hidden]
    normed, sampled = rms_norm(x, layer.norm2), _sample_rows(weights.hidden)
    gate, value = (rows_of(layer.linear_in, sampled + part * weights.hidden) @ normed for part in (0, 1))
    _compare("gate_up", hidden[sampled], silu(gate) * value)

    probe.run("lm.layer0.down")
    before, x = x, (await probe.read(v.x))[: config.transformer.d]
    _compare("down", x[rows], before[rows] + rows_of(layer.linear_out, rows) @ hidden)

    probe.run("lm.text_linear", "lm.decode")
    logits = (await probe.read(v.logits))[: config.text_card]
    alpha = weights.layers[1].norm1 if len(weights.layers) > 1 else weights.out_norm  # of the next norm
    sampled = _sample_rows(config.text_card)
    _compare("head", logits[sampled], rows_of(weights.text_linear, sampled) @ rms_norm(x, alpha))
    expected = initial(config.text_card)
    decode(logits, expected, NO_TERMS)
    found = (await probe.read(probe.state.decoded, np.uint32)).view(DECODED)
    if found["tokens"][0, 0] != expected["tokens"][0, 0]:
        raise GpuWrong("decode")
    _compare("decode", found["log_probabilities"][0], expected["log_probabilities"][0])


async def _attended(probe: _Probe, in_proj: Matrix, normed: Float32) -> Float32:
    """Check query, key and value; return the attention over them and the first key by numpy: float32 (d,)."""
    sizes, kv_cache = probe.backend.config.transformer, probe.state.kv_caches[0]
    n_heads, width, context = sizes.n_heads, sizes.head_width, sizes.context
    n_pairs, dtype = width // 2, np.float16 if probe.backend.kv_format == "f16" else np.float32
    query = (await probe.read(probe.backend.model.vectors.query))[: sizes.d] * np.float32(np.sqrt(width))
    pairs = (
        (await probe.read(kv_cache.keys, dtype)).astype(np.float32).reshape(n_heads, n_pairs, align(context, VEC4), 2)
    )
    keys = pairs[:, :, :context].transpose(2, 0, 1, 3).reshape(context, sizes.d)
    pairs = (
        (await probe.read(kv_cache.values, dtype)).astype(np.float32).reshape(n_heads, context, align(n_pairs, VEC4), 2)
    )
    values = pairs[:, :, :n_pairs].swapaxes(0, 1).reshape(context, sizes.d)

    rows, slot, rotation = _sample_rows(sizes.d), POSITION % context, Rotation.at(POSITION, 1, width, sizes.max_period)
    rows = np.union1d(rows, rows ^ 1)  # a rotation needs both elements of a pair
    for part, found in enumerate((query, keys[slot], values[slot])):
        wanted = np.zeros(sizes.d, np.float32)
        wanted[rows] = rows_of(in_proj, rows + part * sizes.d) @ normed
        if part < 2:
            wanted = rotation.apply(wanted.reshape(1, n_heads, width)).reshape(-1)
        _compare("qkv", found[rows], wanted[rows])

    heads, n_keys = (-1, n_heads, width), min(POSITION + 1, context)
    return attention(query.reshape(heads[1:]), keys[:n_keys].reshape(heads), values[:n_keys].reshape(heads))


class _Probe:
    """Runs single kernels of a stream and reads their results."""

    def __init__(self, backend: WebGPUBackend) -> None:
        self.backend, self.state = backend, backend.new_state()
        self._dispatches = {dispatch.label: dispatch for dispatch in self.state.dispatches}

    def write(self, codes: Int32 | None) -> None:
        self.backend.write_inputs(self.state, step_codes(self.backend.config, codes)[None])

    def run(self, *labels: str) -> None:
        self.backend.queue.submit([self._dispatches[label] for label in labels])

    async def read(self, buffer: Buffer, dtype: Any = np.float32) -> NDArray[Any]:
        return (await self.backend.queue.read(buffer)).view(dtype)


def _sample_rows(n: int) -> Int32:
    """Return indices of a few of n rows, including the first and the last."""
    return np.unique(np.linspace(0, n - 1, N_ROWS).astype(np.int32))


def _deinterleaved(x: Float32) -> Float32:
    """Return the elements of a vector in the layout of interleaved.wgsl, in order."""
    return x.reshape(8, -1, VEC4).swapaxes(0, 1).reshape(-1)


def _compare(kernel: str, found: Float32, wanted: Float32) -> None:
    """Raise GpuWrong if the values differ by more than TOLERANCE."""
    found = found[: wanted.size]
    if not (np.abs(found - wanted) <= TOLERANCE * np.abs(wanted).max() + np.finfo(np.float32).tiny).all():
        raise GpuWrong(kernel)  # also for NaN
