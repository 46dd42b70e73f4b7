"""The selection of parameter combinations."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.pairwise import pairwise


@pytest.mark.parametrize("n_values", [(4, 3), (4, 4, 4), (3, 4, 2, 2), (3, 3, 2, 3)])
def test_every_pair_of_values_occurs(n_values: tuple[int, ...]) -> None:
    factors = [[f"{name}{i}" for i in range(n)] for name, n in zip("abcd", n_values, strict=False)]
    selected = [parameter.values for parameter in pairwise(*factors)]
    assert len(set(selected)) == len(selected) <= len(list(product(*factors)))
    for i, j in combinations(range(len(factors)), 2):
        assert {(chosen[i], chosen[j]) for chosen in selected} == set(product(factors[i], factors[j]))


def test_a_selection_is_much_smaller_than_the_product() -> None:
    assert len(pairwise(range(4), range(4), range(4))) <= 20


def test_marks_of_a_value_are_kept() -> None:
    marked = pytest.param(2, marks=pytest.mark.needs("webgpu"))
    selected = pairwise([1, marked], ["a", "b"])
    assert [[mark.name for mark in parameter.marks] for parameter in selected if 2 in parameter.values] == [
        ["needs"]
    ] * 2
    assert [parameter.marks for parameter in selected if 1 in parameter.values] == [[], []]
