"""The vocabulary as a trie, and the selection of a token with it."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest

from tests.app.vocabularies import random_logits, random_trie
from tympan.config import FIRST_TEXT_ID
from tympan.lm.decoding import candidates_of, decode, initial
from tympan.lm.terms import ELSEWHERE, FIRST_SHARE, NO_TERMS, START, TermTrie, TokenPath

PAD, BOUNDARY = 3, 0
NEW, YORK, TON, CITY = 10, 12, 13, 14  # even ids begin words
TERMS: list[tuple[TokenPath, float]] = [([[NEW, TON]], 2.0), ([[NEW], [YORK], [CITY]], 1.0), ([[YORK]], 3.0)]


def raised_after(trie: TermTrie, tokens: list[int]) -> dict[int, float]:
    """The bonus of each token after a stream of tokens."""
    node = list(accumulate(tokens, trie.advance, initial=START))[-1]
    raised: dict[int, float] = {}
    for suffix in trie.suffixes(node):
        for child in trie.children(suffix):
            raised[int(child["token"])] = max(raised.get(int(child["token"]), 0.0), float(child["bonus"]))
    return raised


def test_the_bonus_grows_with_the_logarithm_of_the_depth() -> None:
    trie = TermTrie.build(TERMS)

    first = {NEW: pytest.approx(2 * FIRST_SHARE), YORK: pytest.approx(3 * FIRST_SHARE)}
    assert raised_after(trie, []) == first
    assert raised_after(trie, [BOUNDARY, NEW]) == {TON: pytest.approx(2 * (1 + np.log(2)))}
    second = pytest.approx(max(1 + np.log(2), 3 * FIRST_SHARE))
    assert raised_after(trie, [NEW, PAD, BOUNDARY]) == first | {YORK: second}, "the larger of two bonuses"
    after_two = raised_after(trie, [NEW, PAD, YORK, BOUNDARY])
    assert after_two == first | {CITY: pytest.approx(1 + np.log(3))}


def test_a_term_is_dropped_when_its_path_fails() -> None:
    trie = TermTrie.build(TERMS)

    assert raised_after(trie, [NEW, 99]) == {}, "within a word of no term"
    assert raised_after(trie, [NEW, PAD, 98, PAD]) == raised_after(trie, [])
    assert TON not in raised_after(trie, [NEW, PAD]), "the word has ended"


def test_a_word_may_begin_without_a_boundary() -> None:
    trie = TermTrie.build(TERMS)
    assert CITY in raised_after(trie, [NEW, YORK, PAD])


def test_a_term_within_another_is_followed() -> None:
    trie = TermTrie.build([([[NEW], [YORK], [CITY]], 1.0), ([[YORK], [99 * 2]], 1.0)])
    assert {CITY, 198} <= set(raised_after(trie, [NEW, PAD, YORK, PAD]))


def test_it_follows_every_term_in_progress(rng: np.random.Generator) -> None:
    """The automaton against a search of all terms for the words so far."""
    n = 24
    even, odd = list(range(4, n, 2)), list(range(5, n, 2))
    words = [[rng.choice(even), *rng.choice(odd, rng.integers(0, 3))] for _ in range(12)]
    terms = [([words[i] for i in rng.integers(0, 12, rng.integers(1, 4))], float(rng.uniform(1, 3))) for _ in range(9)]
    trie = TermTrie.build(terms)
    for _ in range(200):
        spoken = [words[i] if rng.random() < 0.8 else [int(rng.choice(even))] for i in rng.integers(0, 12, 4)]
        cut = int(rng.integers(1, len(spoken[-1]) + 1))
        spoken[-1] = spoken[-1][:cut]
        tokens = [token for word in spoken for token in (BOUNDARY, *word)]
        wanted: dict[int, float] = {}
        for term, boost in terms:
            for n_words in range(1, len(term) + 1):
                before, word = term[: n_words - 1], list(term[n_words - 1])
                if [list(w) for w in spoken[-n_words:-1]] != [list(w) for w in before] or len(spoken) < n_words:
                    continue
                if len(word) > cut and word[:cut] == list(spoken[-1]):
                    depth = sum(map(len, before)) + cut + 1
                    bonus = boost * (1 + np.log(depth) if depth > 1 else FIRST_SHARE)
                    wanted[int(word[cut])] = max(wanted.get(int(word[cut]), 0.0), bonus)
        assert raised_after(trie, tokens) == pytest.approx(wanted)


def test_without_terms_the_largest_logit_wins(rng: np.random.Generator) -> None:
    for _ in range(20):
        logits, decoded = random_logits(rng, 50), initial(50)
        decode(logits, decoded, NO_TERMS)
        selected, others = candidates_of(decoded)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        best = np.argsort(-logits)[:4]
        assert [selected.token, *(other.token for other in others)] == best.tolist()
        np.testing.assert_allclose([selected.probability, *(o.probability for o in others)], probabilities[best], 1e-5)
        assert decoded["node"][0] in (START, ELSEWHERE)


def test_only_plausible_tokens_are_raised() -> None:
    trie = TermTrie.build([([[10]], 12.0), ([[20]], 12.0)])
    logits = np.full(40, -10, np.float32)
    logits[[PAD, 10, 20]] = 3.0, 0.6, 0.8  # 0.8 is within ln 10 of 3, 0.6 is not
    decoded = initial(40)
    decoded["tokens"] = BOUNDARY
    decode(logits, decoded, trie)

    selected, others = candidates_of(decoded)
    assert selected.token == 20
    assert selected.probability == pytest.approx(np.exp(0.8) / np.exp(logits).sum(), rel=1e-5), "without the bonus"
    assert others[0].token == PAD


def test_within_a_term_less_plausible_tokens_are_raised_too() -> None:
    trie = TermTrie.build([([[10, 11]], 6.0)])
    logits = np.full(40, -10, np.float32)
    logits[[PAD, 11]] = 5.0, -3.0  # 8 less than the largest
    for before, selected in ((10, 11), (PAD, PAD), (12, PAD)):
        decoded = initial(40)
        decoded["tokens"] = before
        decode(logits, decoded, trie)
        assert candidates_of(decoded)[0].token == selected


def test_every_node_has_sorted_children(rng: np.random.Generator) -> None:
    trie = random_trie(rng, 60, 50)
    n_children = trie.nodes["n_children"].sum()
    for node in range(len(trie.nodes)):
        tokens = trie.children(node)["token"]
        assert (np.diff(tokens.astype(np.int64)) > 0).all()
    assert n_children + 2 + (trie.nodes["token"][2:] == 0).sum() == len(trie.nodes)
    assert (trie.nodes["token"][trie.nodes["token"] > 0] >= FIRST_TEXT_ID).all()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)
