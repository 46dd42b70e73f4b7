"""tympan.gpu: requested limits, buffers, and the errors of the driver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Error

from tests.awaiting import run
from tests.conftest import PyodidePage
from tympan.errors import NoWebGPU
from tympan.gpu.device import Device

DEVICE = """
import numpy as np
from tympan.gpu.buffers import Buffer, InputBlock, Readback, Usage, upload
from tympan.gpu.device import Device
from tympan.gpu.kernel import Copy, Queue, compile_shader
from tympan.gpu.shaders import Shader

device = await Device.request({})
"""


def test_cpython_has_no_gpu() -> None:
    with pytest.raises(NoWebGPU, match="navigator"):
        run(Device.request({}))


def test_software_adapter_is_detected(pyodide_page: PyodidePage) -> None:
    assert pyodide_page.run(f"{DEVICE}\ndevice.info.is_software")


@pytest.mark.parametrize(
    ("vendor", "architecture", "has_integer_dot"),
    [
        ("nvidia", "", True),
        ("amd", "rdna-3", True),
        ("amd", "gcn-4", False),
        ("intel", "gen-12lp", True),
        ("intel", "gen-9", False),
        ("apple", "metal-3", False),
        ("unknown", "new", True),
    ],
)
def test_integer_dot_is_used_only_on_gpus_with_the_instruction(
    pyodide_page: PyodidePage, vendor: str, architecture: str, has_integer_dot: bool
) -> None:
    source = """
    from types import SimpleNamespace
    from tympan.gpu.device import AdapterInfo

    info = SimpleNamespace(vendor=vendor, architecture=architecture, description="")
    features = SimpleNamespace(has=lambda name: False)
    AdapterInfo.from_adapter(SimpleNamespace(info=info, features=features)).has_integer_dot
    """
    assert pyodide_page.run(source, vendor=vendor, architecture=architecture) is has_integer_dot


def test_device_has_the_requested_limits(pyodide_page: PyodidePage) -> None:
    source = """
    from tympan.gpu.device import Device

    device = await Device.request({"maxBufferSize": 300_000_000})
    device.handle.limits.maxBufferSize
    """
    assert pyodide_page.run(source) == 300_000_000


def test_insufficient_limit_is_named(pyodide_page: PyodidePage) -> None:
    source = """
    from tympan.gpu.device import Device

    await Device.request({"maxBufferSize": 1 << 50})
    """
    with pytest.raises(Error, match=r"GpuLimit: .* maxBufferSize is \d+, 1125899906842624 is needed"):
        pyodide_page.run(source)


@pytest.mark.parametrize(
    ("shader", "words"),
    [
        ("fn main( {", "expected"),
        ("@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }", "u32"),
        ("@compute @workgroup_size(1) fn other() {}", "main"),
        ("override n: u32; @compute @workgroup_size(n) fn main() {}", "n"),
        ("@compute @workgroup_size(4096) fn main() {}", "4096"),
    ],
)
def test_rejected_shader_raises_the_driver_message(pyodide_page: PyodidePage, shader: str, words: str) -> None:
    with pytest.raises(Error, match=f"(?s)GpuFault: The GPU driver refused the shader broken: .*{words}"):
        pyodide_page.run(
            f'{DEVICE}\nawait compile_shader(device, Shader.from_text("broken", shader), 1, {{}})', shader=shader
        )


def test_rejected_buffer_raises_the_driver_message(pyodide_page: PyodidePage) -> None:
    source = f"""{DEVICE}
async with device.error_scope("too much"):
    Buffer.new(device, "too much", 1 << 40)
"""
    with pytest.raises(Error, match="GpuFault: The GPU driver refused too much"):
        pyodide_page.run(source)


def test_error_of_a_command_is_raised_by_the_next_check(pyodide_page: PyodidePage) -> None:
    source = f"""{DEVICE}
from asyncio import Event
from pyodide.ffi import create_proxy

reported = Event()
device.handle.addEventListener("uncapturederror", create_proxy(lambda event: reported.set()))
small = Buffer.new(device, "small", 4, Usage.COPY_SRC)
large = Buffer.new(device, "large", 8, Usage.COPY_DST)
Queue(device, "faulty").submit([], [Copy(small, large, 0, 8)])
await reported.wait()
device.check()
"""
    with pytest.raises(Error, match="GpuFault: The GPU driver refused a command"):
        pyodide_page.run(source)


def test_arrays_of_any_size_are_uploaded_without_gaps(pyodide_page: PyodidePage) -> None:
    arrays: list[NDArray[Any]] = [
        np.arange(3, dtype=np.float16),
        np.arange(5, dtype=np.uint8),
        np.arange(6.0).reshape(2, 3).T,
    ]
    source = f"""{DEVICE}
buffer = upload(device, "arrays", arrays, Usage.COPY_SRC)
readback = Readback(device, "copy", buffer.n_bytes, 1)
slot = readback.acquire()
Queue(device, "copy").submit([], [Copy(buffer, slot, 0, buffer.n_bytes)])
await readback.read(slot, buffer.n_bytes)
"""
    content = pyodide_page.run(source, arrays=arrays)

    assert content.tobytes() == b"".join(array.tobytes() for array in arrays) + b"\0"


def test_input_block_is_written_completely(pyodide_page: PyodidePage) -> None:
    source = f"""{DEVICE}
place, nothing, angles = np.zeros(2, np.uint32), np.zeros(0), np.ones((3, 2), np.float32)
block = InputBlock(device, "inputs", place=place, nothing=nothing, angles=angles)
block.host["place"][:] = 7, 8
block.host["angles"][1] = 0.5
block.write()
copy = await compile_shader(device, Shader.from_text("copy", '''
    @group(0) @binding(0) var<storage, read> place: vec2<u32>;
    @group(0) @binding(1) var<storage, read> angles: array<vec2<f32>>;
    @group(0) @binding(2) var<storage, read_write> copy: array<f32>;
    @compute @workgroup_size(1) fn main() {{
        copy[0] = f32(place.x);
        copy[1] = f32(place.y);
        for (var i = 0u; i < 3; i++) {{
            copy[2 + 2 * i] = angles[i].x;
            copy[3 + 2 * i] = angles[i].y;
        }}
    }}
'''), 1, {{}})
result = Buffer.new(device, "result", 32, Usage.STORAGE | Usage.COPY_SRC)
readback = Readback(device, "result", 32, 1)
slot = readback.acquire()
dispatch = copy.bind("copy", block.device["place"], block.device["angles"], result)
Queue(device, "copy").submit([dispatch], [Copy(result, slot, 0, 32)])
(await readback.read(slot, 32)).view(np.float32).tolist()
"""
    assert pyodide_page.run(source) == [7, 8, 1, 1, 0.5, 0.5, 1, 1]


POLL_RARELY = """
    () => {
        // As Firefox does: finished work is noticed at the next submit, otherwise every 100 ms.
        const { mapAsync } = GPUBuffer.prototype, { submit } = GPUQueue.prototype;
        window.noticed = { submit: 0, timer: 0 };
        let waiting = [];
        const notice = (by) => {
            for (const resolve of waiting.splice(0)) {
                noticed[by] += 1;
                resolve();
            }
        };
        const timer = setInterval(() => notice("timer"), 100);
        GPUQueue.prototype.submit = function (...values) {
            submit.apply(this, values);
            notice("submit");
        };
        GPUBuffer.prototype.mapAsync = async function (...values) {
            await new Promise((resolve) => waiting.push(resolve));
            return mapAsync.apply(this, values);
        };
        window.pollAsBefore = () => {
            clearInterval(timer);
            Object.assign(GPUBuffer.prototype, { mapAsync });
            Object.assign(GPUQueue.prototype, { submit });
        };
    }
"""


def test_results_do_not_wait_for_a_browser_that_polls_rarely(pyodide_page: PyodidePage) -> None:
    pyodide_page.page.evaluate(POLL_RARELY)
    source = f"""{DEVICE}
readback = Readback(device, "result", 4, 1)
for _ in range(20):
    await readback.read(readback.acquire(), 4)
device.close()
"""
    try:
        pyodide_page.run(source)
        noticed = pyodide_page.page.evaluate("noticed")
    finally:
        pyodide_page.page.evaluate("pollAsBefore()")
    assert noticed["timer"] <= 2 + 5, "those of the measurement, and few others"
    assert noticed["submit"] >= 15
