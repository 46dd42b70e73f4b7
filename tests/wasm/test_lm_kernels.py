"""Every kernel of the language model against its numpy definition, at sizes that do not fill a vector or a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.app.vocabularies import random_logits, random_trie
from tests.wasm.conftest import Call
from tympan.arrays import Float32
from tympan.lm.decoding import decode, initial
from tympan.lm.reference import attention, rms_norm, silu
from tympan.lm.terms import NO_TERMS
from tympan.rope import Rotation
from tympan.weights.blocks import BLOCK
from tympan.weights.matrix import FORMATS, Matrix, dense
from tympan.weights.q4 import Q4Matrix, quantize
from tympan.weights.q8 import Q8Matrix

RUN = "(lambda out, *calls: [call() for call in calls] and out)"
SIZES = [(1, 1), (5, 7), (16, 32), (17, 33), (15, 64), (33, 100), (250, 96), (3, 1000)]
STEPS = 32767  # activations are rounded to integers in -STEPS .. STEPS


def random_q4(rng: np.random.Generator, n: int, k: int) -> Q4Matrix:
    """Random nibbles, padding included, and scales of either sign, some zero or subnormal."""
    n_blocks = -(-k // BLOCK)
    scale = (rng.standard_normal((n, n_blocks)) * 0.1).astype(np.float16)
    scale.flat[:: max(2, scale.size // 5)] = [0, 6e-8, -3e-5, 65504, -1][: len(scale.flat[:: max(2, scale.size // 5)])]
    return Q4Matrix(rng.integers(0, 256, (n, n_blocks, BLOCK // 2), np.uint8), scale, k)


def random_matrix(rng: np.random.Generator, matrix_format: str, n: int, k: int) -> Matrix:
    matrix = random_q4(rng, n, k)
    if matrix_format == "q8":
        return Q8Matrix(rng.integers(-128, 128, (*matrix.scale.shape, BLOCK), np.int8), matrix.scale, k)
    return matrix if matrix_format == "q4" else matrix.dequantize()


def rounding(matrix: Q4Matrix, x: Float32) -> Float32:
    """A bound on each output's error from rounding x: (n,)."""
    padded = np.abs(np.pad(x, (0, -matrix.k % BLOCK))).reshape(-1, BLOCK).max(axis=1).repeat(BLOCK)[: matrix.k]
    bound: Float32 = np.abs(matrix.dequantize()) @ (padded * np.float32(0.51 / STEPS))
    return bound


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_matvec_q4(call: Call, rng: np.random.Generator, n: int, k: int) -> None:
    matrix, x = random_q4(rng, n, k), rng.standard_normal(k, np.float32)
    x[: k // 3] *= 1e4  # each block has its own scale
    y = call(f"{RUN}(out, lm.matvec(out, lm.pack(m), x))", m=matrix, x=x, out=np.full(n, np.nan, np.float32))
    wanted = matrix.dequantize().astype(np.float64) @ x
    assert (np.abs(y - wanted) <= rounding(matrix, x) + 1e-5 * np.abs(wanted) + 1e-5).all()


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_interleaved_blocks_are_packed_like_separate_ones(call: Call, rng: np.random.Generator, n: int, k: int) -> None:
    matrix = random_q4(rng, n, k)
    equal = "np.array_equal(lm.pack(type(m).from_gguf(interleaved, k)).panels, lm.pack(m).panels)"
    assert call(equal, m=matrix, interleaved=matrix.to_gguf(), k=k)


@pytest.mark.parametrize(("n", "k"), [(5, 7), (33, 100)])
@pytest.mark.parametrize("is_q4", [True, False])
def test_matvec_accumulates(call: Call, rng: np.random.Generator, n: int, k: int, is_q4: bool) -> None:
    weight, x, before = rng.standard_normal((n, k), np.float32), *(rng.standard_normal(m, np.float32) for m in (k, n))
    matrix: Any = quantize(weight) if is_q4 else weight
    source = "lm.pack(m)" if is_q4 else "m"
    y = call(f"{RUN}(out, lm.matvec(out, {source}, x, accumulate=True))", m=matrix, x=x, out=before)
    np.testing.assert_allclose(y, before + dense(matrix) @ x, atol=1e-3 if is_q4 else 1e-4)


@pytest.mark.parametrize(("n", "k"), [(0, 8), *SIZES])
def test_matvec_f32(call: Call, rng: np.random.Generator, n: int, k: int) -> None:
    weight, x = rng.standard_normal((n, k), np.float32), rng.standard_normal(k, np.float32)
    y = call(f"{RUN}(out, lm.matvec(out, w, x))", w=weight, x=x, out=np.full(n, np.nan, np.float32))
    np.testing.assert_allclose(y, weight @ x, atol=1e-5 * np.sqrt(k))


@pytest.mark.parametrize("magnitude", [0, 1e-38, 1e-18, 1, 1e18])
def test_activations_of_any_magnitude(call: Call, magnitude: float) -> None:
    """Zeros stay zeros, and a result that float32 can represent does not overflow."""
    matrix, x = quantize(np.full((3, 64), 0.5, np.float32)), np.full(64, magnitude, np.float32)
    y = call(f"{RUN}(out, lm.matvec(out, lm.pack(m), x))", m=matrix, x=x, out=np.full(3, np.nan, np.float32))
    np.testing.assert_allclose(y, 32 * magnitude if magnitude > 1e-30 else 0, rtol=1e-4)


def test_largest_sums(call: Call) -> None:
    """The largest nibbles and activations do not overflow the integer sums."""
    q4, scale = np.full((16, 1, 16), 0xFF, np.uint8), np.ones((16, 1), np.float16)
    for sign in (1, -1):
        matrix, x = Q4Matrix(q4 if sign > 0 else np.zeros_like(q4), scale, 32), np.full(32, sign, np.float32)
        y = call(f"{RUN}(out, lm.matvec(out, lm.pack(m), x))", m=matrix, x=x, out=np.empty(16, np.float32))
        np.testing.assert_allclose(y, matrix.dequantize() @ x, rtol=1e-6)


@pytest.mark.parametrize(("n_rows", "n", "d"), [(1, 1, 1), (9, 4, 33), (50, 8, 320)])
@pytest.mark.parametrize("table_format", FORMATS)
def test_embed_sum(call: Call, rng: np.random.Generator, n_rows: int, n: int, d: int, table_format: str) -> None:
    table, rows = random_matrix(rng, table_format, n_rows, d), rng.integers(0, n_rows, n).astype(np.int32)
    before = rng.standard_normal(d, np.float32)
    for accumulate in (False, True):
        x = call(
            f"{RUN}(out, lm.embed_sum(out, table, rows, accumulate=accumulate))",
            table=table, rows=rows, out=before, accumulate=accumulate,
        )  # fmt: skip
        wanted = dense(table)[rows].sum(axis=0, dtype=np.float64)
        np.testing.assert_allclose(x, wanted + (before if accumulate else 0), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("d", [1, 6, 320])
def test_rms_norm(call: Call, rng: np.random.Generator, d: int) -> None:
    x, alpha = rng.standard_normal((2, d), np.float32)
    for scaled in (x, 1e-6 * x, 1e10 * x, 0 * x):
        y = call(f"{RUN}(out, lm.rms_norm(out, x, alpha))", x=scaled, alpha=alpha, out=np.empty(d, np.float32))
        np.testing.assert_allclose(y, rms_norm(scaled, alpha), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("h", [1, 7, 96])
def test_gated_silu(call: Call, rng: np.random.Generator, h: int) -> None:
    inner = 10 * rng.standard_normal(2 * h, np.float32)
    inner[0] = -1e4
    y = call(f"{RUN}(out, lm.gated_silu(out, inner))", inner=inner, out=np.empty(h, np.float32))
    np.testing.assert_allclose(y, silu(inner[:h]) * inner[h:], rtol=1e-5, atol=1e-6)


ATTEND = """
(lambda kv_cache, place, outs: [
    [place.__setitem__(slice(None), (step % n_slots, min(step + 1, n_slots))),
     lm.attention(out, qkv, kv_cache, place, cos, sin)()]
    for step, (out, qkv, cos, sin) in enumerate(zip(outs, qkvs, coss, sins))
] and outs)(KVCache.zeros(2, n_heads, n_slots, width)[1], np.zeros(2, np.int32), outs)
"""


@pytest.mark.parametrize(("n_heads", "n_slots", "width"), [(1, 1, 2), (3, 7, 6), (2, 4, 16), (2, 21, 40), (1, 5, 128)])
def test_attention_over_a_kv_cache_that_wraps(
    call: Call, rng: np.random.Generator, n_heads: int, n_slots: int, width: int
) -> None:
    n_steps, d = 2 * n_slots + 3, n_heads * width
    qkvs = rng.standard_normal((n_steps, 3 * d), np.float32)
    qkvs[:, 2 * d] *= 100  # each key and value has its own scale
    rotations = [Rotation.at(step, 1, width, 10_000) for step in range(n_steps)]
    outs = call(
        ATTEND, n_heads=n_heads, n_slots=n_slots, width=width, qkvs=qkvs, outs=np.full((n_steps, d), np.nan, "f4"),
        coss=np.stack([r.cos[0] for r in rotations]), sins=np.stack([r.sin[0] for r in rotations]),
    )  # fmt: skip
    keys, values = np.zeros((2, n_steps, n_heads, width), np.float32)
    for step, (qkv, rotation) in enumerate(zip(qkvs, rotations, strict=True)):
        q, k, v = qkv.reshape(3, 1, n_heads, width)
        keys[step], values[step] = rotation.apply(k)[0], v[0]
        seen = slice(max(0, step + 1 - n_slots), step + 1)
        wanted = attention(rotation.apply(q)[0], keys[seen], values[seen])
        largest = np.abs(values[seen]).max()
        np.testing.assert_allclose(outs[step], wanted, rtol=0, atol=2e-3 * largest, err_msg=f"step {step}")


def test_attention_with_huge_scores_and_with_zeros(call: Call) -> None:
    """Softmax selects the largest score without overflow, and all-zero inputs give zeros."""
    width, values = 4, np.eye(3, 4, dtype=np.float32)
    keys = np.array([[-1e4] * 4, [1e4] * 4, [0] * 4], np.float32)
    qkvs = np.stack([np.concatenate([np.full(4, 1e4, np.float32), k, v]) for k, v in zip(keys, values, strict=True)])
    no_rotation = {"coss": np.ones((3, 2), np.float32), "sins": np.zeros((3, 2), np.float32)}
    sizes = {"n_heads": 1, "n_slots": 3, "width": width}
    outs = call(ATTEND, qkvs=qkvs, outs=np.full((3, 4), np.nan, "f4"), **no_rotation, **sizes)
    np.testing.assert_allclose(outs, values[[0, 1, 1]], atol=1e-3)
    zeros = call(ATTEND, qkvs=np.zeros((3, 12), np.float32), outs=np.full((3, 4), np.nan, "f4"), **no_rotation, **sizes)
    np.testing.assert_array_equal(zeros, 0)


@pytest.mark.parametrize("n", [1, 3, 61, 2000])
def test_decode(call: Call, rng: np.random.Generator, n: int) -> None:
    """The record of a step equals the definition: tokens and node exactly."""
    trie = random_trie(rng, n, n_terms=200) if n > 10 else NO_TERMS
    record = initial(n)
    for _ in range(12):
        logits, before = random_logits(rng, n) if n > 3 else rng.standard_normal(n, np.float32), record.copy()
        total, found = (
            call(
                f"{RUN}({result}, lm.decode(record, total, x, trie))",
                record=before,
                x=logits,
                trie=trie,
                total=np.empty(1, np.float32),
            )
            for result in ("total", "record")
        )
        decode(logits, record, trie)
        np.testing.assert_array_equal(found["tokens"], record["tokens"])
        np.testing.assert_array_equal(found["node"], record["node"])
        log_probabilities = found["log_probabilities"] - np.log(total)
        np.testing.assert_allclose(log_probabilities, record["log_probabilities"], atol=1e-5)
