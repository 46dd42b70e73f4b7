"""The part of bench/mimi.py that runs in the page."""

from time import perf_counter

import numpy as np
import pyodide_js
from js import Uint8Array
from pyodide.http import pyfetch

from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.mimi.encoder import Mimi, MimiWeights
from tympan.mimi.kernels import mimi_kernels
from tympan.mimi.linear import Precision
from tympan.wasm import module
from tympan.weights.safetensors import SafetensorsFile

mimi: Mimi | None = None  # the encoder loaded last


class Fetched:
    """A `File` outside of Python's memory, like the files of the browser's private file system."""

    def __init__(self, buffer):
        self._content = Uint8Array.new(buffer)
        self.n_bytes = self._content.length

    def read(self, offset, n_bytes):
        return np.frombuffer(self._content.subarray(offset, offset + n_bytes).to_bytes(), np.uint8)


def heap_bytes():
    """The size of Python's memory, which never shrinks."""
    return pyodide_js._module.HEAPU8.length


async def load(url, config, level, precision):
    """Load a checkpoint at a level; return the level selected, the seconds to fetch and load it, and its heap bytes."""
    global mimi
    mimi = None
    before_bytes = heap_bytes()
    started_s = perf_counter()
    file = Fetched(await (await pyfetch(url)).js_response.arrayBuffer())
    fetched_s = perf_counter()
    config = MimiConfig.from_json(config, n_codebooks=config["quantizer"]["n_q"])
    used = module.use(level)
    weights = MimiWeights.from_tensors(config, SafetensorsFile(file, url), Precision(precision))
    mimi = Mimi(config, weights)
    return {
        "level": used,
        "fetch_s": fetched_s - started_s,
        "load_s": perf_counter() - fetched_s,
        "heap_bytes": heap_bytes() - before_bytes,
    }


async def run(samples, n_together):
    """Encode a stream, `n_together` frames per call; return each call's milliseconds per frame, and the codes."""
    assert mimi is not None
    frames = np.asarray(samples, np.float32).reshape(-1, FRAME_SAMPLES)
    state, times_ms, codes = mimi.new_state(), [], []
    for start in range(0, len(frames), n_together):
        some = frames[start : start + n_together]
        started_s = perf_counter()
        codes += mimi.encode(state, some).tolist()
        times_ms.append((perf_counter() - started_s) * 1000 / len(some))
    return {"times_ms": times_ms, "codes": codes}


async def ceilings():
    """The kernels' maximum throughput: GFLOP/s with weights in the CPU cache, GB/s with weights in memory."""
    kernels = mimi_kernels()
    assert kernels is not None
    x, small = np.ones((64, 256), np.float32), kernels.pack(np.ones((256, 256), np.float32))
    one, large = np.ones((1, 4096), np.float32), kernels.pack(np.ones((4096, 4096), np.float32))
    product_s = best_s(lambda: [kernels.product(x, small) for _ in range(50)]) / 50
    stream_s = best_s(lambda: kernels.product(one, large))
    return {"gflops": 2 * 64 * 256 * 256 / product_s / 1e9, "gb_s": large.weights.nbytes / stream_s / 1e9}


def best_s(function):
    """Seconds of the fastest of ten calls."""
    times_s = []
    for _ in range(10):
        started_s = perf_counter()
        function()
        times_s.append(perf_counter() - started_s)
    return min(times_s)
