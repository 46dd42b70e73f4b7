"""Calls a kernel in the browser, at each SIMD level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest

from tests.conftest import PyodidePage

Call: TypeAlias = Callable[..., Any]

MISALIGNED = """
import numpy as np
from tympan.wasm import module
from tympan.mimi.kernels import Activation, LayerPointers, mimi_kernels
from tympan.lm.simd.kernels import KVCache, simd_kernels
from tympan.weights.blocks import BlockMatrix

def misaligned(array):
    '''A copy of the array, or of a matrix's arrays, one element past the address that malloc would return.'''
    if isinstance(array, BlockMatrix):
        return type(array)(misaligned(array.blocks), misaligned(array.scale), array.k)
    copy = np.empty(array.size + 1, array.dtype)[1:].reshape(array.shape)
    copy[...] = array
    return copy

assert module.use(level) == level
kernels, lm = mimi_kernels(), simd_kernels()
values = {name: misaligned(v) if isinstance(v, (np.ndarray, BlockMatrix)) else v for name, v in values.items()}
result = eval(expression, {**globals(), **values})
result
"""


@pytest.fixture(params=["relaxed", "simd"])
def call(request: pytest.FixtureRequest, pyodide_page: PyodidePage) -> Iterator[Call]:
    """`call(expression, **values)`: the value of a Python expression over `kernels`, `lm`, `np` and the given values.

    Arrays are passed at addresses aligned to their element size only.
    """

    def run(expression: str, **values: Any) -> Any:
        return pyodide_page.run(MISALIGNED, level=request.param, expression=expression, values=values)

    yield run
    pyodide_page.run("from tympan.wasm import module; module.use()", level=request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(24)
