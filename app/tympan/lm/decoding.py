"""Logits -> the text token, its probability, and the next most likely tokens.

The token with the largest logit is selected, after the bonus of the vocabulary. Probabilities are those of the model,
without the bonus. `decode` is the definition of shaders/decode.wgsl and of `decode` in lm.c.
"""

from __future__ import annotations

from math import exp, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.lm.terms import TermTrie

N_CANDIDATES = 4  # the selected token and the next most likely
# A token gets a bonus if it is at least this likely, relative to the most likely one: where a word begins, because a
# large vocabulary has many first tokens; and after the beginning of a term, which is evidence of it.
MIN_P, MIN_P_WITHIN = 0.1, 1e-4
MIN_LOGIT, MIN_LOGIT_WITHIN = log(MIN_P), log(MIN_P_WITHIN)  # relative to the largest logit

# The layout of struct Decoded in decode.wgsl and lm.c: what a step leaves for the next one and for the CPU.
DECODED = np.dtype(
    [
        ("tokens", np.uint32, N_CANDIDATES),
        ("log_probabilities", np.float32, N_CANDIDATES),
        ("node", np.uint32),  # of the stream in the trie of its terms, before `tokens[0]`
    ]
)


class Candidate(NamedTuple):
    """A text token and its probability."""

    token: int
    probability: float


def initial(text_card: int) -> NDArray[Any]:
    """The record that the first step reads: (1,) of DECODED."""
    decoded = np.zeros(1, DECODED)
    decoded["tokens"] = text_card
    return decoded


def decode(logits: Float32, decoded: NDArray[Any], trie: TermTrie) -> None:
    """Select the next token from logits (V,). decoded: (1,) of DECODED, that of the previous step; updated in place."""
    record = decoded[0]
    node = trie.advance(int(record["node"]), int(record["tokens"][0]))
    order = np.argsort(-logits, kind="stable")[:N_CANDIDATES].tolist()
    largest = logits[order[0]]
    best, token = largest, order[0]
    for suffix in trie.suffixes(node):
        min_logit = MIN_LOGIT if trie.begins_word(suffix) else MIN_LOGIT_WITHIN
        for child in trie.children(suffix):
            raised, candidate = logits[child["token"]] + child["bonus"], int(child["token"])
            is_plausible = logits[candidate] >= largest + np.float32(min_logit)
            if is_plausible and (raised > best or (raised == best and candidate < token)):
                best, token = raised, candidate
    candidates = [token, *(other for other in order if other != token)][:N_CANDIDATES]
    candidates += [token] * (N_CANDIDATES - len(candidates))  # of a model with fewer tokens
    log_total = np.log(np.exp(logits - largest).sum())
    record["tokens"], record["log_probabilities"] = candidates, logits[candidates] - largest - log_total
    record["node"] = node


def candidates_of(decoded: NDArray[Any]) -> tuple[Candidate, tuple[Candidate, ...]]:
    """The selected token, and the next most likely ones. decoded: (1,) of DECODED."""
    tokens, log_probabilities = decoded["tokens"][0].tolist(), decoded["log_probabilities"][0].tolist()
    selected, *others = (Candidate(*pair) for pair in zip(tokens, map(exp, log_probabilities), strict=True))
    return selected, tuple(others)
