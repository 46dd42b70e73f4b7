"""Runs one kernel of the library on given buffers, in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PyodidePage

Arrays: TypeAlias = list[NDArray[Any]]
RunKernel: TypeAlias = Callable[..., Arrays]

RUN = """
import numpy as np
from tympan.gpu.buffers import Readback, Usage, upload
from tympan.gpu.device import Device
from tympan.gpu.kernel import Compiler, Copy, Queue
from tympan.lm import kernels

device = await Device.request({})
kernel = await getattr(kernels, name)(Compiler(device), **options)
async with device.guard(name):
    buffers = [upload(device, f"{name}.{i}", [array], Usage.STORAGE | Usage.COPY_SRC) for i, array in enumerate(arrays)]
    readback = Readback(device, "result", max(buffer.n_bytes for buffer in buffers), len(buffers))
    slots = [readback.take() for _ in buffers]
    copies = [Copy(buffer, slot, 0, buffer.n_bytes) for buffer, slot in zip(buffers, slots)]
    Queue(device, name).submit([kernel.on(name, *buffers)], copies)
results = [await readback.read(slot, buffer.n_bytes) for slot, buffer in zip(slots, buffers)]
device.close()
[result[: array.nbytes].view(array.dtype).reshape(array.shape) for result, array in zip(results, arrays)]
"""


@pytest.fixture
def run_kernel(pyodide_page: PyodidePage) -> RunKernel:
    """`run_kernel(name, *arrays, **options)`: what each buffer holds after one dispatch of `tympan.lm.kernels.name`."""

    def run(name: str, *arrays: NDArray[Any], **options: Any) -> Arrays:
        results: Arrays = pyodide_page.run(RUN, name=name, arrays=list(arrays), options=options)
        return results

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(80)
