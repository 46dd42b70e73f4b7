"""Codes that the transformer reads on the GPU of Mimi: the same results as through Python, wherever the GPU is lost."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.app.fake_model import TOKENIZER
from tests.app.golden import GOLDEN, golden, golden_mimi_files
from tests.awaiting import run
from tests.conftest import PyodidePage
from tympan.arrays import Float32, Int32
from tympan.codes import CodeLayout, CodeReader, Codes, GpuCodes, PendingCodes, readable
from tympan.config import FRAME_SAMPLES
from tympan.errors import DeviceLost
from tympan.gpu.buffers import Buffer
from tympan.gpu.device import Device
from tympan.lm.backend import ReplayableBackend, Step
from tympan.lm.recovery import RecoveringBackend
from tympan.lm.reference import Reference, ReferenceState
from tympan.mimi.backend import Encoder
from tympan.mimi.encoder import Mimi, MimiState
from tympan.mimi.recovery import RecoveringEncoder
from tympan.transcriber import Transcriber
from tympan.transcript import Trace

N_FRAMES = 12  # so that no stream is longer than the context
LAYOUT = CodeLayout.plain(golden().lm_config.n_codebooks)


class FakeDevice:
    """A device that is lost after some submits, which is noticed later."""

    def __init__(self, n_submits: int) -> None:
        self.n_left = n_submits

    def check(self) -> None:
        if self.n_left < 0:
            raise DeviceLost("unplugged")

    def submit(self) -> None:
        self.check()
        self.n_left -= 1


class FakeGpuMimi(Mimi):
    """An encoder that leaves the codes of the last call on its device. `n_read` counts the calls read back."""

    max_frames = 32

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(golden().mimi.config, golden().mimi.weights)
        self.device, self.n_calls, self.n_read = device, 0, 0

    def start(self, state: MimiState, frames: Float32) -> PendingCodes:  # type: ignore[override]
        self.device.submit()
        codes, self.n_calls = self.encode(state, frames), self.n_calls + 1
        n_calls = self.n_calls

        async def read() -> Int32:
            self.device.check()
            assert self.n_calls == n_calls
            self.n_read += 1
            return codes

        device, buffer = cast(Device, self.device), cast(Buffer, codes)
        return PendingCodes(
            len(codes), read, GpuCodes(device, buffer, LAYOUT, 0, len(codes), lambda: self.n_calls == n_calls)
        )


class FakeStep:
    """A step whose result is read from the device."""

    def __init__(self, device: FakeDevice, step: Step) -> None:
        self._device, self._step = device, step

    def __await__(self) -> Generator[None, None, Step]:
        yield
        self._device.check()
        return self._step


class FakeGpuTransformer(Reference):
    """A transformer that reads codes on its device."""

    name = "webgpu"
    max_steps = 8

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(golden().lm_config, golden().lm_weights)
        self.device = device
        self.code_reader = CodeReader(cast(Device, device), LAYOUT)

    def step(self, state: ReferenceState, codes: Codes | None, **options: Any) -> FakeStep:  # type: ignore[override]
        return self.start(state, [codes], **options)[0]

    def steps(self, state: ReferenceState, codes: Codes) -> list[FakeStep]:  # type: ignore[override]
        return self.start(state, list(codes))

    def start(self, state: ReferenceState, codes: list[Codes | None], **options: Any) -> list[FakeStep]:
        self.device.submit()
        steps = [super(FakeGpuTransformer, self).step(state, self.read(frame), **options).step for frame in codes]
        return [FakeStep(self.device, step) for step in steps]

    def read(self, codes: Codes | None) -> Int32 | None:
        if not isinstance(codes, PendingCodes):
            return codes
        assert codes.on_gpu is not None
        assert cast(FakeDevice, codes.on_gpu.device) is self.device
        assert codes.on_gpu.is_current()
        return cast(Int32, codes.on_gpu.buffer)[codes.on_gpu.first]


class FakeGpu:
    """Opens both stages on one device, and on another one when it is lost."""

    def __init__(self, *n_submits: int) -> None:
        self.n_submits, self.encoders = list(n_submits), list[FakeGpuMimi]()

    async def transcriber(self) -> Transcriber:
        async def open_transformer() -> ReplayableBackend:
            return cast(ReplayableBackend, FakeGpuTransformer(FakeDevice(self.n_submits.pop(0))))

        async def open_encoder() -> Encoder:
            reader = await lm.open_code_reader()
            assert reader is not None
            self.encoders.append(FakeGpuMimi(cast(FakeDevice, reader.device)))
            return self.encoders[-1]

        async def open_on_cpu() -> Encoder:
            return golden().mimi

        lm = await RecoveringBackend.open([open_transformer])
        return Transcriber(RecoveringEncoder([open_encoder, open_on_cpu], await open_encoder()), lm, TOKENIZER)


async def traced(transcriber: Transcriber, live: bool, trace: Trace = Trace.TOKENS) -> Any:
    """Codes and tokens of the golden recording."""
    stream = transcriber.stream(n_ahead=0 if live else 8, trace=trace)
    pcm = golden().pcm[: N_FRAMES * FRAME_SAMPLES]
    for part in pcm.reshape(N_FRAMES if live else 1, -1):
        await stream.feed(part)
    result = await stream.finish()
    return result.codes, result.tokens


@pytest.fixture(scope="module")
def expected() -> Any:
    """Codes and tokens without a GPU."""
    reference = Reference(golden().lm_config, golden().lm_weights)
    return run(traced(Transcriber(golden().mimi, reference, TOKENIZER), live=True))


def test_layout_of_codes() -> None:
    layout = CodeLayout(5, np.array([0, 3, 1], np.int32), np.array([0, 10, 20], np.int32))
    rows, codes = np.zeros((2, 5), np.uint32), np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    layout.write(rows, codes)

    assert rows.tolist() == [[1, 23, 0, 12, 0], [4, 26, 0, 15, 0]]
    np.testing.assert_array_equal(layout.read(rows.view(np.uint8).reshape(-1)), codes)


def test_items_and_slices_of_pending_codes_are_those_of_the_array() -> None:
    values = np.arange(12, dtype=np.int32).reshape(4, 3)

    async def read() -> Int32:
        return values

    async def value(codes: PendingCodes) -> Int32:
        return await codes

    codes = PendingCodes(4, read, GpuCodes(cast(Device, None), cast(Buffer, None), LAYOUT, 0, 4, lambda: True))
    assert [run(value(frame)).tolist() for frame in codes] == values.tolist()
    part = codes[1:9][1:]
    assert run(value(part)).tolist() == values[2:].tolist()
    assert part.on_gpu is not None
    assert (len(part), part.on_gpu.first, part.on_gpu.n_frames) == (2, 2, 2)


def test_codes_are_awaited_where_they_cannot_be_read() -> None:
    async def read() -> Int32:
        return np.zeros((1, LAYOUT.n_words), np.int32)

    device, other = cast(Device, FakeDevice(1)), cast(Device, FakeDevice(1))
    codes = PendingCodes(1, read, GpuCodes(device, cast(Buffer, None), LAYOUT, 0, 1, lambda: True))
    assert run(readable(codes, CodeReader(device, LAYOUT))) is codes
    for reader in (None, CodeReader(other, LAYOUT)):
        assert isinstance(run(readable(codes, reader)), np.ndarray)


@pytest.mark.parametrize("live", [True, False])
def test_the_results_are_the_same_and_no_codes_are_awaited(expected: Any, live: bool) -> None:
    gpu = FakeGpu(1000)

    async def result() -> Any:
        return await traced(await gpu.transcriber(), live)

    assert run(result()) == expected
    assert [encoder.n_read for encoder in gpu.encoders] == [0]


def test_the_direct_trace_has_the_frame_that_is_not_read(expected: Any) -> None:
    async def result() -> Any:
        return await traced(await FakeGpu(1000).transcriber(), live=False, trace=Trace.DIRECT)

    assert run(result())[0][:N_FRAMES] == expected[0][:N_FRAMES]


@pytest.mark.parametrize("live", [True, False])
def test_no_token_is_lost_or_changed_wherever_the_gpu_is_lost(expected: Any, live: bool) -> None:
    assert golden().lm_config.transformer.context > N_FRAMES, "then a replay is exact"
    for n_submits in range(2 * N_FRAMES if live else 5):
        gpu = FakeGpu(n_submits, 1000)

        async def result(gpu: FakeGpu = gpu) -> Any:
            return await traced(await gpu.transcriber(), live)

        assert run(result()) == expected, n_submits
        assert len(gpu.encoders) == 2, "one for each device"


GPU = """
from types import SimpleNamespace

from js import eval as js_eval
from tympan.config import FRAME_SAMPLES
from tympan.loading import assemble
from tympan.mimi.webgpu.encoder import MimiGpu
from tympan.text.tokenizer import Tokenizer
from tympan.transcriber import Transcriber
from tympan.transcript import Trace

counts, restore = js_eval('''() => {
    const counts = { mapAsync: 0, requestDevice: 0 }, methods = [];
    for (const [{ prototype }, name] of [[GPUBuffer, "mapAsync"], [GPUAdapter, "requestDevice"]]) {
        const method = prototype[name];
        methods.push(() => { prototype[name] = method; });
        prototype[name] = function (...values) { counts[name]++; return method.apply(this, values); };
    }
    return [counts, () => methods.forEach((restore) => restore())];
}''')()
files = SimpleNamespace(manifest=SimpleNamespace(**manifest), lm=lm, mimi=mimi, tokenizer=tokenizer)
shared = (await assemble(files, "webgpu", "webgpu")).transcriber
config, frames = manifest["mimi_config"], pcm.reshape(-1, FRAME_SAMPLES)

async def traced(transcriber, n_together, n_ahead, lost_at=-1):
    n_read, n_devices, n_frames = counts.mapAsync, counts.requestDevice, 0
    stream = transcriber.stream(n_ahead=n_ahead, trace=Trace.TOKENS)
    for start in range(0, len(frames), n_together):
        async for _ in stream.steps(frames[start : start + n_together].reshape(-1)):
            n_frames += 1
            if n_frames == lost_at:
                transcriber.lm.code_reader.device.handle.destroy()
    result = await stream.finish()
    return result.codes, result.tokens, counts.mapAsync - n_read, counts.requestDevice - n_devices

async def live_and_file(transcriber):
    return await traced(transcriber, 1, 0), await traced(transcriber, len(frames), 8)
"""


def on_gpu(page: PyodidePage, source: str) -> Any:
    """Run Python with an open transcriber `shared`; it must assign `result`."""
    config, tensors = golden_mimi_files()
    return page.run(
        f"{GPU}\n{source}\nshared.close()\nrestore()\nresult",
        manifest={"mimi_config": config, "lm_config": golden().lm_config, "calibration": None},
        lm=load_file(GOLDEN / "model.safetensors"),
        mimi=tensors,
        tokenizer=(GOLDEN / "tokenizer.model").read_bytes(),
        pcm=golden().pcm[: N_FRAMES * FRAME_SAMPLES],
    )


@pytest.fixture(scope="module")
def on_webgpu(pyodide_page: PyodidePage) -> Any:
    """Codes, tokens, readbacks and new devices: of a live recording and a file, and of a file that loses the device."""
    return on_gpu(
        pyodide_page,
        """
n_devices = counts.requestDevice
encoder = await MimiGpu.create(config, mimi)
alone = await live_and_file(Transcriber(encoder, shared.lm, shared.tokenizer))
encoder.close()
result = SimpleNamespace(
    n_devices=n_devices,
    alone=alone,
    shared=await live_and_file(shared),
    lost=await traced(shared, len(frames), 8, lost_at=5),
)
""",
    )


def test_webgpu_reads_the_same_codes_on_one_device(on_webgpu: Any) -> None:
    codes = np.array(on_webgpu.shared[0][0])
    assert on_webgpu.n_devices == 1
    np.testing.assert_array_equal(codes[:N_FRAMES], golden().expected["mimi_codes_stream"].T[:N_FRAMES])
    assert [run[:2] for run in on_webgpu.shared] == [run[:2] for run in on_webgpu.alone]


def test_webgpu_waits_once_for_each_live_step(on_webgpu: Any) -> None:
    n_steps = len(on_webgpu.shared[0][1])
    assert on_webgpu.shared[0][2] == n_steps
    assert on_webgpu.alone[0][2] == 2 * n_steps - 1, "the first step reads no codes"


def test_webgpu_loses_no_token_with_the_device_of_both(on_webgpu: Any) -> None:
    assert on_webgpu.lost[:2] == on_webgpu.shared[1][:2]
    assert on_webgpu.lost[3] == 1, "both stages are on one new device"
