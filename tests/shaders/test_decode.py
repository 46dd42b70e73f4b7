"""decode.wgsl: the selected token, its probability, the next most likely tokens, and the state in the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.app.vocabularies import random_logits, random_trie
from tests.shaders.conftest import RunKernel, sizes
from tympan.arrays import Float32
from tympan.lm.decoding import decode, initial
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.lm.webgpu.kernels import Tuning

LOWEST = np.finfo(np.float32).min
TUNINGS = [Tuning(), Tuning(decode=8)]


def decoded_on_gpu(
    run_kernel: RunKernel,
    logits: Float32,
    before: NDArray[Any],
    trie: TermTrie = NO_TERMS,
    tuning: Tuning = TUNINGS[0],
) -> NDArray[Any]:
    padded = np.pad(logits, (0, -logits.size % 4), constant_values=np.float32(2e30))  # must be ignored
    arrays = padded, before, trie.nodes, np.zeros_like(before)
    _, decoded, _, result = run_kernel("decode", sizes(), *arrays, tuning=tuning, n=logits.size)
    assert decoded == result
    return decoded


def assert_same(found: NDArray[Any], wanted: NDArray[Any], logits: Float32) -> None:
    np.testing.assert_array_equal(found["tokens"], wanted["tokens"])
    np.testing.assert_array_equal(found["node"], wanted["node"])
    atol = 1e-5 * max(1.0, float(np.abs(logits).max()))
    np.testing.assert_allclose(found["log_probabilities"], wanted["log_probabilities"], atol=atol)


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 2000, 8000])
def test_without_terms_it_equals_numpy(run_kernel: RunKernel, rng: np.random.Generator, n: int, tuning: Tuning) -> None:
    logits = 4 * rng.standard_normal(n, np.float32)
    found, wanted = decoded_on_gpu(run_kernel, logits, initial(n), tuning=tuning), initial(n)
    decode(logits, wanted, NO_TERMS)

    assert found["tokens"][0, 0] == logits.argmax()
    assert_same(found, wanted, logits)


@pytest.mark.parametrize("winners", [[0, 1], [63, 64], [3, 67, 199], [130, 66, 129], [199]])
def test_a_tie_gives_the_lowest_index(run_kernel: RunKernel, winners: list[int]) -> None:
    logits = np.full(200, -5, np.float32)
    logits[winners] = -1
    found = decoded_on_gpu(run_kernel, logits, initial(200))["tokens"][0].tolist()

    others = [i for i in range(200) if i not in winners]
    assert found == [*sorted(winners), *others][:4]


@pytest.mark.parametrize("value", [LOWEST, -1e9, 0, 1e30])
def test_equal_logits_give_index_0(run_kernel: RunKernel, value: float) -> None:
    found = decoded_on_gpu(run_kernel, np.full(70, value, np.float32), initial(70))

    assert found["tokens"][0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found["log_probabilities"][0], -np.log(70), atol=1e-5)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_stream_with_terms_equals_numpy(run_kernel: RunKernel, rng: np.random.Generator, tuning: Tuning) -> None:
    n = 60
    trie = random_trie(rng, n, n_terms=40)
    gpu, wanted = initial(n), initial(n)
    n_raised = 0
    for _ in range(60):
        logits = random_logits(rng, n)
        gpu = decoded_on_gpu(run_kernel, logits, gpu, trie, tuning)
        decode(logits, wanted, trie)
        n_raised += int(wanted["tokens"][0, 0] != logits.argmax())
        assert_same(gpu, wanted, logits)
    assert n_raised > 5, "terms change some tokens"


def test_a_thousand_terms_equal_numpy(run_kernel: RunKernel, rng: np.random.Generator) -> None:
    n = 2000
    trie = random_trie(rng, n, n_terms=1000)
    for _ in range(8):
        logits, before = random_logits(rng, n), initial(n)
        before["node"] = rng.integers(len(trie.nodes))
        before["tokens"] = trie.nodes["token"][rng.integers(2, len(trie.nodes))]
        wanted = before.copy()
        decode(logits, wanted, trie)
        assert_same(decoded_on_gpu(run_kernel, logits, before, trie), wanted, logits)
