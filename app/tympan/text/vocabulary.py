"""A list of terms that a recording may contain: names, products, jargon. It raises the tokens that spell them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tympan.errors import TooManyTerms
from tympan.text.tokenizer import Tokenizer

MAX_TERMS = 1000
MAX_WEIGHT = 10.0
# Added to the logit of a token of a term of weight 1, times 1 + ln depth; less for the first token, see lm/terms.py. A
# vocabulary of more than FULL_BOOST_TERMS terms gets less: more of the words that are spoken begin like one of them.
BOOST, FULL_BOOST_TERMS, DECAY = 4.5, 100, 0.65

Spelling: TypeAlias = list[list[int]]  # the tokens of each word
Terms: TypeAlias = "str | Iterable[str | Mapping[str, Any] | Term]"  # as `read_terms` takes them

_LINE = re.compile(r"(?P<text>.*?\S)(?:\s*:\s*(?P<weight>\d+(?:\.\d+)?))?\s*")


@dataclass(frozen=True)
class Term:
    """A word or a phrase. weight: times the default boost, 0 to MAX_WEIGHT."""

    text: str
    weight: float = 1.0


def read_terms(terms: Terms) -> tuple[Term, ...]:
    """Read terms: text with one term per line, or an iterable of lines, of {text, weight}, or of `Term`.

    A line is a term, optionally followed by a colon and its weight: `Tympan: 1.5`. Empty lines and lines that start
    with # are skipped; of a term that occurs twice, the last one counts.
    Weights are limited to MAX_WEIGHT. Raises TooManyTerms if there are more than MAX_TERMS.
    """
    found: dict[str, Term] = {}
    for line in terms.splitlines() if isinstance(terms, str) else terms:
        if isinstance(line, Term):
            term: Term | None = line
        elif isinstance(line, str):
            term = _term(line)
        else:
            term = Term(" ".join(str(line["text"]).split()), float(line.get("weight", 1.0)))
        if term is not None and term.text:
            found[term.text] = replace(term, weight=min(max(term.weight, 0.0), MAX_WEIGHT))
    if len(found) > MAX_TERMS:
        raise TooManyTerms(len(found), MAX_TERMS)
    return tuple(found.values())


def spellings(terms: Sequence[Term], tokenizer: Tokenizer) -> list[tuple[Spelling, float]]:
    """The tokens of every spelling of the terms, each with its boost.

    Terms are spelled as given, in lower case, and with capital first letters, because the model decides about capitals.
    A spelling with a character that the model cannot write is left out.
    """
    boost = BOOST * min(1.0, (FULL_BOOST_TERMS / max(1, len(terms))) ** DECAY)
    found: list[tuple[Spelling, float]] = []
    for term in terms:
        words = term.text.split()
        variants = dict.fromkeys(
            [tuple(words), tuple(word.lower() for word in words), tuple(word[:1].upper() + word[1:] for word in words)]
        )
        for variant in variants:
            spelling = [tokenizer.encode_word(word) for word in variant]
            if all(spelling):
                found.append((spelling, boost * term.weight))
    return found


def _term(line: str) -> Term | None:
    match = _LINE.fullmatch(line)
    if match is None or line.lstrip().startswith("#"):
        return None
    return Term(" ".join(match["text"].split()), float(match["weight"] or 1.0))
