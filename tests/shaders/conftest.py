"""Runs one kernel of the library on given buffers, in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PyodidePage
from tympan.arrays import Float32
from tympan.config import TransformerConfig
from tympan.weights import q4, q8
from tympan.weights.blocks import BLOCK, BlockMatrix
from tympan.weights.matrix import Matrix

Arrays: TypeAlias = list[NDArray[Any]]
RunKernel: TypeAlias = Callable[..., Arrays]

TOLERANCE = 1e-5  # of the largest value
INTEGER_TOLERANCE = 1e-4  # and with a vector of 16 bits

# One lane; a few; more than a subgroup has, without subgroups and with those of SwiftShader; Q4 in floats, in integers.
LAYOUTS = [
    "Tuning(0, False, *[Shape(8, 1)] * 6)",
    "Tuning(0, True, *[Shape(64, 8)] * 6)",
    "Tuning(4, False, *[Shape(32, 16)] * 6)",
]

RUN = """
import numpy as np
from tympan.gpu.buffers import Readback, Usage, upload
from tympan.gpu.device import Device
from tympan.gpu.kernel import Compiler, Copy, Queue
from tympan.lm.webgpu.kernels import WebGPUKernels, Shape, Tuning

device = await Device.request({})
kernel = await getattr(WebGPUKernels(Compiler(device), eval(tuning), sizes, ring), name)(**options)
usage = Usage.STORAGE | Usage.COPY_SRC
async with device.guard(name):
    bound = [upload(device, f"{name}.{i}", [array], usage) if array is not None else None
             for i, array in enumerate(arrays)]
    buffers = [buffer for buffer in bound if buffer is not None]
    readback = Readback(device, "result", max(buffer.n_bytes for buffer in buffers), len(buffers))
    slots = [readback.take() for _ in buffers]
    copies = [Copy(buffer, slot, 0, buffer.n_bytes) for buffer, slot in zip(buffers, slots)]
    Queue(device, name).submit([kernel.on(name, *bound)], copies)
results = [await readback.read(slot, buffer.n_bytes) for slot, buffer in zip(slots, buffers)]
device.close()
arrays = [array for array in arrays if array is not None]
[result[: array.nbytes].view(array.dtype).reshape(array.shape) for result, array in zip(results, arrays)]
"""


@pytest.fixture
def run_kernel(pyodide_page: PyodidePage) -> RunKernel:
    """`run_kernel(name, sizes, *arrays, tuning=, ring=, **options)`: what the buffers hold after one dispatch.

    name: a method of `WebGPUKernels`, and options its arguments. arrays: None where a shader has no such binding.
    """

    def run(
        name: str,
        sizes: TransformerConfig,
        *arrays: NDArray[Any] | None,
        tuning: str = LAYOUTS[0],
        ring: str = "f32",
        **options: Any,
    ) -> Arrays:
        results: Arrays = pyodide_page.run(
            RUN, name=name, sizes=sizes, arrays=list(arrays), tuning=tuning, ring=ring, options=options
        )
        return results

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(80)


def sizes(d: int = 64, n_heads: int = 1, context: int = 8) -> TransformerConfig:
    return TransformerConfig(d, 1, n_heads, context, 100_000.0)


def buffers_of(matrix: Matrix) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The bindings 0 and 1."""
    return (matrix.blocks, matrix.scale) if isinstance(matrix, BlockMatrix) else (matrix, None)


def rounded(values: Float32, matrix_format: str) -> Matrix:
    """A matrix in a format."""
    return {"q4": q4.quantize, "q8": q8.quantize}[matrix_format](values) if matrix_format != "f32" else values


def in_blocks(x: Float32) -> Float32:
    """A vector as vector.wgsl lays it out: quads of all blocks together."""
    return np.pad(x, (0, -x.size % BLOCK)).reshape(-1, 8, 4).swapaxes(0, 1).reshape(-1)


def in_quads(x: Float32) -> Float32:
    return np.pad(x, (0, -x.size % 4))


def keys_as_ring(keys: Float32) -> Float32:
    """Keys (S, H, D) as ring.wgsl lays them out: (H, D / 2, S, 2), S filled up to whole quads."""
    pairs = keys.reshape(*keys.shape[:2], -1, 2).transpose(1, 2, 0, 3)
    return np.pad(pairs, ((0, 0), (0, 0), (0, -keys.shape[0] % 4), (0, 0)))


def values_as_ring(values: Float32) -> Float32:
    """Values (S, H, D) as ring.wgsl lays them out: (H, S, D / 2, 2), D / 2 filled up to whole quads."""
    return np.pad(values.swapaxes(0, 1), ((0, 0), (0, 0), (0, -values.shape[2] % 8)))


def stream(x: Float32, alpha: Float32) -> tuple[Float32, Float32]:
    """What residual.wgsl leaves of a stream for the norm after it: `scaled` and `squares`, to a whole quad."""
    return in_blocks(x * alpha), in_quads(np.square(in_quads(x)).reshape(-1, 4).sum(1))


def tolerance_of(tuning: str, matrix: str) -> float:
    """What a product with a matrix may be off, of the largest value."""
    return INTEGER_TOLERANCE if "True" in tuning and matrix == "q4" else TOLERANCE


def assert_close(found: Float32, wanted: Float32, tolerance: float = TOLERANCE) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()
