"""A vocabulary as a trie over text tokens, with the state of a stream in it: an Aho-Corasick automaton.

A stream is at one node: the longest path of tokens that ends with its newest token. `fallback` leads to the next
shorter one. Backends advance the node and raise the logits of the children in the same pass that selects the token.
Source: moonshine-ai/moonshine docs (bonus = boost * (1 + ln depth)); Aho and Corasick, CACM 18 (1975).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.config import FIRST_TEXT_ID

FIRST_SHARE = 0.45  # of the boost, for the first token of a term: it is shared by many terms and words

START, ELSEWHERE = 0, 1  # nodes: no term has begun and a word may begin; within a word that belongs to no term

# The layout is that of struct Node in decode.wgsl and lm.c.
NODE = np.dtype(
    [
        ("token", np.uint32),  # on the edge to this node
        ("bonus", np.float32),  # added to the logit of that token
        ("first", np.uint32),  # of its children, which are adjacent and sorted by token
        ("n_children", np.uint32),
        ("fallback", np.uint32),  # the node of the longest proper suffix of this path; START and ELSEWHERE: itself
        ("gap", np.uint32),  # the node after the word has ended
    ]
)

TokenPath: TypeAlias = Sequence[Sequence[int]]  # the tokens of each word of a term


@dataclass
class _Builder:
    """A node while the trie is built."""

    bonus: float = 0.0
    children: dict[int, _Builder] = field(default_factory=dict)
    gap: _Builder | None = None
    fallback: _Builder | None = None
    index: int = 0


@dataclass(frozen=True)
class TermTrie:
    """The terms of a stream. Read only."""

    nodes: NDArray[Any]  # (n,) of NODE

    @classmethod
    def build(cls, terms: Sequence[tuple[TokenPath, float]]) -> TermTrie:
        """Build the trie. terms: the tokens of each spelling of a term, and its boost."""
        start, elsewhere = _Builder(), _Builder()
        for words, boost in terms:
            node, depth = start, 0
            for n_words, word in enumerate(words):
                if n_words:
                    node.gap = node.gap or _Builder()
                    node = node.gap
                for token in word:
                    depth += 1
                    node = node.children.setdefault(token, _Builder())
                    node.bonus = max(node.bonus, boost * (1 + log(depth) if depth > 1 else FIRST_SHARE))
        ordered = _link(start, elsewhere)
        nodes = np.zeros(len(ordered), NODE)
        for index, (token, node) in enumerate(ordered):
            assert node.fallback is not None and node.gap is not None
            children = list(node.children.values())
            first = children[0].index if children else 0
            nodes[index] = token, node.bonus, first, len(children), node.fallback.index, node.gap.index
        return cls(nodes)

    def children(self, node: int) -> NDArray[Any]:
        """The child nodes of a node, sorted by token."""
        first = int(self.nodes["first"][node])
        return self.nodes[first : first + int(self.nodes["n_children"][node])]

    def begins_word(self, node: int) -> bool:
        """Whether the next token begins a word."""
        return int(self.nodes["gap"][node]) == node

    def suffixes(self, node: int) -> Iterator[int]:
        """The nodes of all terms in progress: `node`, and those of its suffixes."""
        while True:
            yield node
            shorter = int(self.nodes["fallback"][node])
            if shorter == node:
                return
            node = shorter

    def advance(self, node: int, token: int) -> int:
        """The node of the stream after its next token."""
        gap = int(self.nodes["gap"][node])
        if token < FIRST_TEXT_ID:  # padding and boundaries end a word
            return gap
        for start in (node, gap):  # a model may begin a word without a boundary
            for suffix in self.suffixes(start):
                children = self.children(suffix)
                at = int(np.searchsorted(children["token"], token))
                if at < len(children) and children["token"][at] == token:
                    return int(self.nodes["first"][suffix]) + at
        return ELSEWHERE


def _link(start: _Builder, elsewhere: _Builder) -> list[tuple[int, _Builder]]:
    """Number the nodes breadth first, and set `fallback` and `gap`; returns them in order, each with its token."""
    start.fallback = start.gap = start
    elsewhere.fallback, elsewhere.gap = elsewhere, start
    ordered = [(0, start), (0, elsewhere)]
    queue = [start]
    while queue:
        level, queue = queue, []
        for parent in level:
            for token, child in sorted(parent.children.items()):
                child.fallback = _suffix(parent, token) or elsewhere
                ordered.append((token, child))
                queue.append(child)
            parent.children = dict(sorted(parent.children.items()))
        for parent in list(queue):
            if parent.gap is not None:  # a longer phrase; its node follows the children of this level
                assert parent.fallback is not None and parent.fallback.gap is not None
                parent.gap.fallback, parent.gap.gap = parent.fallback.gap, parent.gap
                ordered.append((0, parent.gap))
                queue.append(parent.gap)
            else:
                assert parent.fallback is not None
                parent.gap = parent.fallback.gap
    for index, (_, node) in enumerate(ordered):
        node.index = index
    return ordered


def _suffix(parent: _Builder, token: int) -> _Builder | None:
    """The node of the longest proper suffix of the path through `parent` and `token`, or None."""
    node = parent
    while node.fallback is not node:
        assert node.fallback is not None
        node = node.fallback
        if token in node.children:
            return node.children[token]
    return None


NO_TERMS = TermTrie.build([])
