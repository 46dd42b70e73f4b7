"""Runs single kernels of the library on given buffers, in the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PyodidePage
from tympan.arrays import Float32
from tympan.config import TransformerConfig
from tympan.lm.webgpu.kernels import Shape, Tuning
from tympan.weights import q4, q8
from tympan.weights.blocks import BLOCK, BlockMatrix
from tympan.weights.matrix import Matrix

Arrays: TypeAlias = list[NDArray[Any]]
RunKernel: TypeAlias = Callable[..., Arrays]

TOLERANCE = 1e-5  # of the largest value
INTEGER_TOLERANCE = 1e-4  # with vectors rounded to 16 bits


def same_shapes(n_invocations: int, n_lanes: int) -> dict[str, Any]:
    """Arguments of `Tuning`: the same shape for every kernel that has one."""
    return dict.fromkeys(("embed", "qkv", "out_proj", "gate_up", "down", "head"), Shape(n_invocations, n_lanes))


# One lane; several lanes, Q4 in integers; more lanes than a subgroup of SwiftShader has.
LAYOUTS = [
    Tuning(0, False, **same_shapes(8, 1)),
    Tuning(0, True, **same_shapes(64, 8)),
    Tuning(4, False, **same_shapes(32, 16)),
]


def tuning_parameter(tuning: Tuning, **options: Any) -> Any:
    """A parameter of a test, which is left out in engines without what the tuning needs. options: of pytest.param."""
    return pytest.param(tuning, marks=[pytest.mark.needs("subgroups")] if tuning.subgroup_width else [], **options)


LAYOUT_PARAMETERS = [tuning_parameter(tuning) for tuning in LAYOUTS]

START = """
import sys
from types import ModuleType

sys.modules["kernel_runner"] = kernel_runner = ModuleType("kernel_runner")
exec(compile(module_source, "kernel_runner", "exec"), kernel_runner.__dict__)
"""

RUN = """
from kernel_runner import run_kernel

await run_kernel(name, sizes, arrays, tuning, kv_format, options)
"""

STOP = """
from kernel_runner import close

close()
"""


@pytest.fixture(scope="session")
def kernel_runner(pyodide_page: PyodidePage) -> Iterator[PyodidePage]:
    """The page with tests/shaders/kernel_runner.py as a module, which keeps one device and compiler."""
    pyodide_page.run(START, module_source=(Path(__file__).parent / "kernel_runner.py").read_text("utf-8"))
    yield pyodide_page
    pyodide_page.run(STOP)


@pytest.fixture
def run_kernel(kernel_runner: PyodidePage) -> RunKernel:
    """`run_kernel(name, sizes, *arrays, tuning=, kv_format=, **options)`: contents of the buffers after one dispatch.

    name: a method of `WebGPUKernels`; options: its arguments. arrays: None where a shader has no such binding.
    """

    def run(
        name: str,
        sizes: TransformerConfig,
        *arrays: NDArray[Any] | None,
        tuning: Tuning = LAYOUTS[0],
        kv_format: str = "f32",
        **options: Any,
    ) -> Arrays:
        results: Arrays = kernel_runner.run(
            RUN, name=name, sizes=sizes, arrays=list(arrays), tuning=tuning, kv_format=kv_format, options=options
        )
        return results

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(80)


def sizes(d: int = 64, n_heads: int = 1, context: int = 8) -> TransformerConfig:
    return TransformerConfig(d, 1, n_heads, context, 100_000.0)


def buffers_of(matrix: Matrix) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Bindings 0 and 1 of a matrix."""
    return (matrix.blocks, matrix.scale) if isinstance(matrix, BlockMatrix) else (matrix, None)


def rounded(values: Float32, matrix_format: str) -> Matrix:
    """A matrix converted to a format."""
    return {"q4": q4.quantize, "q8": q8.quantize}[matrix_format](values) if matrix_format != "f32" else values


def interleaved(x: Float32) -> Float32:
    """A vector in the layout of interleaved.wgsl."""
    return np.pad(x, (0, -x.size % BLOCK)).reshape(-1, 8, 4).swapaxes(0, 1).reshape(-1)


def padded_to_vec4(x: Float32) -> Float32:
    return np.pad(x, (0, -x.size % 4))


def keys_in_cache_layout(keys: Float32) -> Float32:
    """Keys (S, H, D) in the layout of kv_cache.wgsl: (H, D / 2, S, 2), S padded to a multiple of 4."""
    pairs = keys.reshape(*keys.shape[:2], -1, 2).transpose(1, 2, 0, 3)
    return np.pad(pairs, ((0, 0), (0, 0), (0, -keys.shape[0] % 4), (0, 0)))


def values_in_cache_layout(values: Float32) -> Float32:
    """Values (S, H, D) in the layout of kv_cache.wgsl: (H, S, D / 2, 2), D / 2 padded to a multiple of 4."""
    return np.pad(values.swapaxes(0, 1), ((0, 0), (0, 0), (0, -values.shape[2] % 8)))


def stream(x: Float32, alpha: Float32) -> tuple[Float32, Float32]:
    """`scaled` and `squares` of residual.wgsl for a residual stream; squares are padded to a multiple of 4."""
    return interleaved(x * alpha), padded_to_vec4(np.square(padded_to_vec4(x)).reshape(-1, 4).sum(1))


def tolerance_of(tuning: Tuning, matrix: str) -> float:
    """The tolerance of a product with a matrix, relative to the largest value."""
    return INTEGER_TOLERANCE if tuning.has_integers and matrix == "q4" else TOLERANCE


def assert_close(found: Float32, wanted: Float32, tolerance: float = TOLERANCE) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()
