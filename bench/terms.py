"""What a vocabulary does to errors on rare names and on other words, in the page: `tympan bench terms`.

The set is bench/speech/rare_names.zip: sentences with one name each, and names that do not occur. With 10 terms, the
vocabulary of a file has its name and nine that do not occur; with 100, the names of most files; with 1,000, also those
that do not occur.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from zipfile import ZipFile

from playwright.sync_api import Page

from bench.provenance import provenance
from bench.wer import SETS, utterances
from tympan.cli.browser import version_of
from tympan.cli.transcribe import Options, opened_page, transcribe_file
from tympan.cli.word_errors import aligned, words_of
from tympan.text.vocabulary import BOOST

SET = SETS / "rare_names.zip"
BOOSTS = (1.0, 2.0, 3.0, 4.5, 6.0)  # of the plot, with 100 terms


def measure(options: Options, boosts: Sequence[float] = BOOSTS) -> dict[str, Any]:
    """Transcribe the set with every vocabulary; print a line for each. Raises CommandError."""
    with ZipFile(SET) as archive:
        labels = json.loads(archive.read("labels.json"))
        distractors: list[str] = json.loads(archive.read("distractors.json"))
    names = sorted({label["term"] for label in labels.values()})
    vocabularies: dict[str, Callable[[str], list[str]]] = {
        "0": lambda term: [],
        "10": lambda term: [term, *distractors[:9]],
        "100": lambda term: names,
        "1000": lambda term: [*names, *distractors[: 1000 - len(names)]],
        "1000 unspoken": lambda term: distractors[:1000],
    }
    print(f"{'vocabulary':20} {'term errors':>12} {'other errors':>13}")
    with opened_page(options) as page:
        loaded, browser = page.evaluate("tympan.ready"), version_of(page)
        rates = {name: _measure(page, name, lines) for name, lines in vocabularies.items()}
        plot = []
        for boost in boosts:
            if boost == BOOST:
                found = rates["100"]
            else:
                found = _measure(page, f"100, boost {boost:g}", partial(_weighted, names, boost / BOOST))
            plot.append({"boost": boost, **found})
    unspoken = rates.pop("1000 unspoken")
    facts = {"model": loaded["title"], "backend": loaded["backend"], **provenance(browser)}
    return {"terms": rates, "unspoken": unspoken, "boosts": plot, "default_boost": BOOST, **facts}


def _weighted(names: Sequence[str], weight: float, term: str) -> list[str]:
    return [f"{name}: {weight}" for name in names]


def rates_of(results: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Errors by the best alignment. results: the reference, the name in it, and the transcript.

    term_errors: the share of names that are not right. other_errors: those on other words, with insertions, per word.
    """
    n_terms, n_words, term_errors, other_errors = 0, 0, 0, 0
    for text, term, transcript in results:
        for expected, word in aligned(words_of(text), words_of(transcript)):
            if expected == term:
                n_terms, term_errors = n_terms + 1, term_errors + (word != expected)
            else:
                n_words, other_errors = n_words + (expected is not None), other_errors + (word != expected)
    return {
        "term_errors": round(term_errors / n_terms, 4),
        "other_errors": round(other_errors / n_words, 4),
        "n_terms": n_terms,
        "n_words": n_words,
    }


def _measure(page: Page, name: str, vocabulary: Callable[[str], list[str]]) -> dict[str, Any]:
    results = []
    for utterance in utterances(SET):
        terms = "\n".join(vocabulary(utterance.term))
        results.append((utterance.text, utterance.term, transcribe_file(page, utterance.path, terms)["text"]))
    rates = rates_of(results)
    print(f"{name:20} {rates['term_errors']:12.1%} {rates['other_errors']:13.1%}", flush=True)
    return rates


def main(model: str, backend: str, as_json: bool) -> bool:
    """Measure, print a table and, as_json, one line of JSON after it."""
    result = measure(Options(model=model, backend=backend))
    if as_json:
        print(json.dumps(result))
    return True
