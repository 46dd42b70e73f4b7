"""Calls a kernel in the browser, at every level that needs one."""

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
from tympan.mimi.kernels import Activation, LayerPointers
from tympan.lm.simd.kernels import KVCache
from tympan.weights.blocks import BlockMatrix

def misaligned(array):
    '''The same array, or a matrix of such, one element further than malloc would put it.'''
    if isinstance(array, BlockMatrix):
        return type(array)(misaligned(array.blocks), misaligned(array.scale), array.k)
    room = np.empty(array.size + 1, array.dtype)[1:].reshape(array.shape)
    room[...] = array
    return room

assert module.use(level) == level
kernels, lm = module.kernels(), module.lm_kernels()
values = {name: misaligned(v) if isinstance(v, (np.ndarray, BlockMatrix)) else v for name, v in values.items()}
result = eval(expression, {**globals(), **values})
result
"""


@pytest.fixture(params=["relaxed", "simd"])
def call(request: pytest.FixtureRequest, pyodide_page: PyodidePage) -> Iterator[Call]:
    """`call(expression, **values)`: the value of a Python expression over `kernels`, `lm`, `np` and the given values.

    Arrays arrive at addresses that are multiples of their element's size and of nothing more.
    """

    def run(expression: str, **values: Any) -> Any:
        return pyodide_page.run(MISALIGNED, level=request.param, expression=expression, values=values)

    yield run
    pyodide_page.run("from tympan.wasm import module; module.use()", level=request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(24)
