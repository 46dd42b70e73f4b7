"""How well confidences tell right words from wrong ones, in the page, on the test sets: a part of `bench.wer`."""

from __future__ import annotations

import json

from bench.wer import measure
from tympan.cli.transcribe import Options


def main(model: str, backend: str, as_json: bool) -> bool:
    """Measure, print a line for each set and, as_json, one line of JSON after them."""
    result = measure(Options(model=model, backend=backend))
    del result["wer"]
    for name, rates in result["confidence"]["sets"].items():
        auc = "" if rates["auc"] is None else f"area under the curve {rates['auc']:.3f}"
        print(f"{name:20} {rates['n_words']:6} words, {rates['right']:6.1%} right  {auc}")
    print(f"all: area under the curve {result['confidence']['auc']}")
    if as_json:
        print(json.dumps(result))
    return True
