"""Random vocabularies and logits for tests of the decoders."""

from __future__ import annotations

import numpy as np

from tympan.arrays import Float32
from tympan.config import FIRST_TEXT_ID
from tympan.lm.terms import TermTrie


def random_trie(rng: np.random.Generator, n_tokens: int, n_terms: int) -> TermTrie:
    """Terms of one to three words of one to four tokens. Even ids begin words."""
    even = np.arange(FIRST_TEXT_ID, n_tokens, 2)
    odd = even[:-1] + 1
    terms = []
    for _ in range(n_terms):
        n_words = rng.integers(1, 4)
        words = [[rng.choice(even), *rng.choice(odd, rng.integers(0, 4))] for _ in range(n_words)]
        terms.append(([[int(token) for token in word] for word in words], float(rng.uniform(0.5, 4))))
    return TermTrie.build(terms)


def random_logits(rng: np.random.Generator, n: int) -> Float32:
    """Logits with several plausible tokens, often a special one."""
    logits = rng.standard_normal(n, np.float32)
    logits[rng.integers(0, FIRST_TEXT_ID)] += np.float32(rng.uniform(0, 4))
    return logits
