"""Steps and streams of the WebGPU backend: order, independence, GPU objects and memory."""

from __future__ import annotations

from dataclasses import replace

from tests.app.golden import golden
from tests.app.golden_lm import STREAMS, official_tokens
from tests.app.webgpu_backend import CREATE, odd_model, run_in_page
from tests.conftest import PyodidePage


def test_logits_are_returned_only_on_request(gpu_page: PyodidePage) -> None:
    steps = run_in_page(gpu_page, "result = await run(backend, frames[:2])")

    assert [step.logits for step in steps] == [None, None]


def test_model_without_extra_heads(gpu_page: PyodidePage) -> None:
    step = gpu_page.run(
        f"{CREATE}\nstep, = await run(backend, [None])\nbackend.close()\nstep",
        config=replace(golden().lm_config, n_extra_heads=0),
        weights=replace(golden().lm_weights, extra_heads=()),
        kv_format="f32",
        tuning=None,
    )

    assert (step.token, step.extra_heads) == (official_tokens()[0], None)


def test_steps_can_be_awaited_late_and_in_any_order(gpu_page: PyodidePage) -> None:
    tokens = run_in_page(
        gpu_page,
        """
state, tokens = backend.new_state(), []
for first in range(0, len(frames), N_IN_FLIGHT):
    started = [backend.step(state, frame) for frame in frames[first : first + N_IN_FLIGHT]]
    tokens += reversed([(await step).token for step in reversed(started)])
result = tokens
""",
    )

    assert tokens == official_tokens()


def test_too_many_pending_steps_are_rejected_without_effect(gpu_page: PyodidePage) -> None:
    refusal, tokens = run_in_page(
        gpu_page,
        """
state, refusal = backend.new_state(), None
started = [backend.step(state, frame) for frame in frames[:N_IN_FLIGHT]]
try:
    backend.step(state, frames[N_IN_FLIGHT])
except AssertionError as error:
    refusal = str(error)
tokens = [(await step).token for step in started]
tokens.append((await backend.step(state, frames[N_IN_FLIGHT])).token)
result = refusal, tokens
""",
    )

    assert "await one of them first" in refusal
    assert tokens == official_tokens()[: len(tokens)]


def test_several_steps_of_one_submit_equal_single_steps(gpu_page: PyodidePage) -> None:
    """Groups of all sizes, also beyond the end of the KV cache; single steps in between."""
    tokens, heads = run_in_page(
        gpu_page,
        """
from tympan.lm.webgpu.backend import MAX_STEPS

single = await run(backend, frames)
state, steps, i = backend.new_state(), [], 1
steps.append(await backend.step(state, frames[0]))
while i < len(frames):
    codes = np.stack(frames[i : i + 1 + i % MAX_STEPS])
    started = backend.steps(state, codes) if len(codes) > 1 else [backend.step(state, codes[0])]
    steps += [await step for step in started]
    i += len(codes)
differences = [np.abs(a.extra_heads - b.extra_heads).max() for a, b in zip(steps, single, strict=True)]
result = [step.token for step in steps], float(max(differences))
""",
    )

    assert tokens == official_tokens()
    assert heads == 0


def test_python_encodes_the_same_where_a_page_has_no_replay(gpu_page: PyodidePage) -> None:
    tokens = run_in_page(
        gpu_page,
        """
from tympan.gpu import kernel

replay, kernel.replay = kernel.replay, None
try:
    state = backend.new_state()
finally:
    kernel.replay = replay
assert replay is not None and state.dispatches.recorded is None
result = [(await backend.step(state, frame)).token for frame in frames[:10]]
""",
    )

    assert tokens == official_tokens()[:10]


def test_streams_are_independent(gpu_page: PyodidePage) -> None:
    """One stream alone, then two new streams in alternation."""
    assert run_in_page(gpu_page, STREAMS) == [official_tokens()] * 3


def test_deleted_stream_frees_its_memory(gpu_page: PyodidePage) -> None:
    """The driver reports the later use of a destroyed buffer."""
    report = run_in_page(
        gpu_page,
        """
from tympan.errors import GpuFault

state = backend.new_state()
dispatches, report = state.dispatches, None
del state
try:
    async with backend.device.error_scope("a stream"):
        backend.queue.submit(dispatches)
except GpuFault as error:
    report = str(error)
result = report
""",
    )

    assert "destroyed" in report


def test_a_step_creates_only_a_command_encoder(gpu_page: PyodidePage) -> None:
    """A step creates one encoder and no other GPU object. It writes once and submits once."""
    calls = run_in_page(
        gpu_page,
        """
from js import eval as js_eval

calls, restore = js_eval('''() => {
    const calls = [], methods = [];
    for (const { prototype } of [GPUDevice, GPUQueue]) {
        for (const name of Object.getOwnPropertyNames(prototype)) {
            if (!/^(create|write|submit)/.test(name)) continue;
            const method = prototype[name];
            methods.push(() => { prototype[name] = method; });
            prototype[name] = function (...values) { calls.push(name); return method.apply(this, values); };
        }
    }
    return [calls, () => methods.forEach((restore) => restore())];
}''')()
backend.close()
backend = await WebGPUBackend.create(config, weights)
state = backend.new_state()
n_before = len(calls)
for frame in frames[:3]:
    await backend.step(state, frame, want_logits=True)
result = list(calls)[n_before:]
restore()
""",
    )

    assert calls == ["writeBuffer", "createCommandEncoder", "submit"] * 3


def test_long_streams_use_constant_memory(gpu_page: PyodidePage) -> None:
    """Thousands of steps over a small KV cache create no GPU object, and Python keeps no memory."""
    config, weights = odd_model(d=12, n_heads=1, h=7, context=5)
    n_created, n_objects, n_heap_bytes, position = run_in_page(
        gpu_page,
        """
import gc
import pyodide_js
from js import eval as js_eval

count = js_eval('''(device) => {
    const count = { created: 0 };
    for (const name of ["createBuffer", "createBindGroup", "createComputePipeline", "createShaderModule"]) {
        const method = device[name];
        device[name] = function (...values) { count.created++; return method.apply(this, values); };
    }
    return count;
}''')

async def talk(n_steps):
    for _ in range(n_steps // N_IN_FLIGHT):
        for step in [backend.step(state, codes) for _ in range(N_IN_FLIGHT)]:
            await step
    gc.collect()
    return len(gc.get_objects()), pyodide_js._module.HEAPU8.length

state, codes = backend.new_state(1 << 40), np.zeros(config.n_codebooks, np.int32)
counts = count(backend.device.handle)
before = await talk(400)
after = await talk(2000)
result = counts.created, after[0] - before[0], after[1] - before[1], state.position
""",
        weights,
        config,
    )

    assert position == (1 << 40) + 2400
    assert n_created == 0
    assert n_heap_bytes == 0
    assert n_objects < 200, "one object kept per step would be 2,000; a few are always pending"


def test_lost_device_is_reported_by_every_later_step(gpu_page: PyodidePage) -> None:
    kinds = run_in_page(
        gpu_page,
        """
from tympan.errors import TympanError

async def kind_of(make):
    try:
        await make()
    except TympanError as error:
        return error.kind

state = backend.new_state()
pending = backend.step(state, None)
backend.device.handle.destroy()
result = [await kind_of(lambda: pending), await kind_of(lambda: backend.step(state, frames[1]))]
""",
    )

    assert kinds == ["DeviceLost", "DeviceLost"]
