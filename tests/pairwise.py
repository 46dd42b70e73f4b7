"""Parameter combinations that cover all pairs of values, for tests whose full product would take too long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest

_Parameter = type(pytest.param())


def pairwise(*factors: Sequence[Any]) -> list[Any]:
    """Select combinations of one value per factor so that any two values of different factors occur together.

    Greedy: each selected combination has the most pairs that are still missing. The selection is always the same.
    factors: values, or `pytest.param` of one value with its marks. Returns a `pytest.param` for each combination.
    """
    pairs_of = {
        chosen: set(combinations(enumerate(chosen), 2))
        for chosen in product(*(range(len(factor)) for factor in factors))
    }
    missing = set().union(*pairs_of.values())
    selected = []
    while missing:
        best = max(pairs_of, key=lambda chosen: len(pairs_of[chosen] & missing))
        missing -= pairs_of[best]
        selected.append(_joined([factor[i] for factor, i in zip(factors, best, strict=True)]))
    return selected


def _joined(values: Sequence[Any]) -> Any:
    """Join values to one `pytest.param`."""
    parameters = [value if isinstance(value, _Parameter) else pytest.param(value) for value in values]
    marks = [mark for parameter in parameters for mark in parameter.marks]
    return pytest.param(*(parameter.values[0] for parameter in parameters), marks=marks)
