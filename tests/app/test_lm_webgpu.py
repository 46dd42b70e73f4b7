"""The WebGPU backend: in float32 against the official outputs, quantized against the numpy backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Error

from tests.app.golden import golden
from tests.conftest import PyodidePage
from tests.shaders.conftest import same_shapes
from tympan.arrays import Float32, Int32
from tympan.config import LMConfig, TransformerConfig
from tympan.gpu.device import AdapterInfo
from tympan.lm.backend import Step
from tympan.lm.reference import Reference
from tympan.lm.webgpu.kernels import KVFormat, Shape, Tuning
from tympan.lm.webgpu.model import needed_limits
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.weights import q8
from tympan.weights.matrix import Matrix, dense, format_of
from tympan.weights.q4 import quantize
from tympan.weights.q8 import LazyQ8Matrix

LOGIT_TOLERANCE = 1e-4
INTEGER_TOLERANCE = 5e-4  # of the largest logit, with Q4 multiplied in integers
HALF_TOLERANCE = 2e-3  # of the largest logit, with keys and values in half floats

CREATE = """
import numpy as np
from tympan.lm.webgpu.backend import N_IN_FLIGHT, WebGPUBackend

backend = await WebGPUBackend.create(config, weights, kv_format=kv_format, tuning=tuning)

async def run(backend, frames, **options):
    state = backend.new_state()
    return [await backend.step(state, frame, **options) for frame in frames]
"""


STREAMS = """
alone = await run(backend, frames)
first, second = backend.new_state(), backend.new_state()
alternating = [], []
for frame in frames:
    for state, steps in zip((first, second), alternating):
        steps.append(await backend.step(state, frame))
result = [[step.token for step in steps] for steps in (alone, *alternating)]
"""


def frames() -> list[Int32 | None]:
    """Inputs of the steps: the initial tokens, then the official codes."""
    return [None, *golden().expected["stream_codes"].T.astype(np.int32)]


def run_in_page(
    page: PyodidePage,
    source: str,
    weights: LMWeights | None = None,
    config: LMConfig | None = None,
    kv_format: KVFormat = "f32",
    tuning: Tuning | None = None,
) -> Any:
    """Run Python with an open `backend`; it must assign `result`. tuning: by default that of the adapter."""
    return page.run(
        f"{CREATE}\n{source}\nbackend.close()\nresult",
        config=config or golden().lm_config,
        weights=weights or golden().lm_weights,
        frames=frames(),
        kv_format=kv_format,
        tuning=tuning,
    )


def official(name: str) -> Float32:
    return golden().expected[f"primed_{name}"].astype(np.float32)


def official_tokens() -> list[int]:
    tokens: list[int] = golden().expected["primed_text_tokens"].tolist()
    return tokens


def logits_of(steps: list[Step]) -> Float32:
    return np.stack([step.logits for step in steps if step.logits is not None])


def heads_of(steps: list[Step]) -> Float32:
    return np.stack([step.extra_heads for step in steps if step.extra_heads is not None])


def q4(matrix: Matrix) -> Matrix:
    return matrix if format_of(matrix) == "q4" else quantize(dense(matrix))


def in_q4(weights: LMWeights) -> LMWeights:
    """Every matrix in Q4, as in a converted model; norms and extra heads stay dense."""
    return replace(
        weights,
        embeddings=tuple(q4(table) for table in weights.embeddings),
        text_embedding=q4(weights.text_embedding),
        layers=tuple(
            replace(
                layer,
                in_proj=q4(layer.in_proj),
                out_proj=q4(layer.out_proj),
                linear_in=q4(layer.linear_in),
                linear_out=q4(layer.linear_out),
            )
            for layer in weights.layers
        ),
        text_linear=q4(weights.text_linear),
    )


def in_q8(matrix: Matrix) -> Matrix:
    return q8.quantize(dense(matrix))


def with_q8_tables(weights: LMWeights) -> LMWeights:
    """As converted by `tympan quantize --embeddings q8`."""
    tables = tuple(map(in_q8, weights.embeddings))
    return replace(in_q4(weights), embeddings=tables, text_embedding=in_q8(weights.text_embedding))


def in_all_formats(weights: LMWeights) -> LMWeights:
    """Tables of alternating formats; of the other matrices one in Q8, one dense, the rest in Q4."""
    first, *others = in_q4(weights).layers
    rounded = [q4, in_q8, dense]
    return replace(
        in_q4(weights),
        embeddings=tuple(rounded[k % 3](table) for k, table in enumerate(weights.embeddings)),
        text_embedding=in_q8(weights.text_embedding),
        layers=(replace(first, linear_out=in_q8(weights.layers[0].linear_out)), *others),
        text_linear=weights.text_linear,
    )


def reference_steps(weights: LMWeights) -> list[Step]:
    reference = Reference(golden().lm_config, weights)
    state = reference.new_state()
    return [reference.step(state, frame, want_logits=True).step for frame in frames()]


def test_float32_equals_the_official_outputs(pyodide_page: PyodidePage) -> None:
    steps = run_in_page(pyodide_page, "result = await run(backend, frames, want_logits=True)")

    assert len(steps) > 3 * golden().lm_config.transformer.context, "the KV cache wraps"
    np.testing.assert_allclose(logits_of(steps), official("text_logits"), atol=LOGIT_TOLERANCE, rtol=0)
    assert [step.token for step in steps] == official_tokens()
    np.testing.assert_allclose(heads_of(steps), official("extra_heads"), atol=LOGIT_TOLERANCE, rtol=0)


@pytest.mark.parametrize("convert", [in_q4, with_q8_tables, in_all_formats])
def test_quantized_matrices_equal_numpy(pyodide_page: PyodidePage, convert: Callable[[LMWeights], LMWeights]) -> None:
    weights = convert(golden().lm_weights)
    steps = run_in_page(pyodide_page, "result = await run(backend, frames, want_logits=True)", weights)

    wanted = reference_steps(weights)
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]
    np.testing.assert_allclose(heads_of(steps), heads_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("has_integer_dot", "is_software", "kv_format", "has_integers"),
    [(True, False, "f16", True), (True, False, "f32", False), (False, False, "f16", False), (True, True, "f16", False)],
)
def test_integers_are_not_used_with_a_float32_kv_cache(
    has_integer_dot: bool, is_software: bool, kv_format: KVFormat, has_integers: bool
) -> None:
    adapter = AdapterInfo("nvidia", "", "", is_software, subgroup_width=32, has_integer_dot=has_integer_dot)

    assert Tuning.for_adapter(adapter, kv_format).has_integers is has_integers


LAYOUTS = {
    "trees": Tuning(),
    "subgroups of 4": Tuning(4),
    "subgroups within and across lanes": Tuning(
        4, False, Shape(32, 4), Shape(64, 8), Shape(32, 2), Shape(32, 32), Shape(64, 16), Shape(8, 4)
    ),
    "integers": Tuning(4, True),
    "many small splits": Tuning(attention=16, n_split=4),
    "one lane": Tuning(0, True, **same_shapes(8, 1)),
}


@pytest.mark.parametrize("tuning", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("convert", [lambda weights: weights, in_all_formats], ids=["f32", "all formats"])
def test_every_tuning_equals_numpy(
    pyodide_page: PyodidePage, tuning: Tuning, convert: Callable[[LMWeights], LMWeights]
) -> None:
    weights = convert(golden().lm_weights)
    source = "result = await run(backend, frames[:40], want_logits=True)"
    steps = run_in_page(pyodide_page, source, weights, tuning=tuning)

    wanted = reference_steps(weights)[:40]
    tolerance = INTEGER_TOLERANCE * np.abs(logits_of(wanted)).max() if tuning.has_integers else LOGIT_TOLERANCE
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=tolerance, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]


@pytest.mark.parametrize("convert", [lambda weights: weights, in_q4], ids=["f32", "q4"])
def test_half_float_kv_cache_changes_no_token(
    pyodide_page: PyodidePage, convert: Callable[[LMWeights], LMWeights]
) -> None:
    """The tokens are equal and the logits nearly so."""
    weights = convert(golden().lm_weights)
    steps = run_in_page(pyodide_page, "result = await run(backend, frames, want_logits=True)", weights, kv_format="f16")

    wanted = reference_steps(weights)
    largest = np.abs(logits_of(wanted)).max()
    np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=HALF_TOLERANCE * largest, rtol=0)
    assert [step.token for step in steps] == [step.token for step in wanted]


@pytest.mark.parametrize(("d", "n_heads", "h"), [(20, 1, 7), (12, 6, 33), (38, 19, 5), (330, 3, 100)])
@pytest.mark.parametrize("context", [1, 5])
def test_sizes_that_are_no_multiple_of_a_block(
    pyodide_page: PyodidePage, d: int, n_heads: int, h: int, context: int
) -> None:
    config, weights = odd_model(d, n_heads, h, context)
    codes = np.random.default_rng(5).integers(0, config.card, (7, config.n_codebooks)).astype(np.int32)
    fed = [None, *codes]
    reference = Reference(config, weights)
    state = reference.new_state()
    wanted = [reference.step(state, frame, want_logits=True).step for frame in fed]
    for tuning in (None, Tuning(4)):
        source = f"""
fed = [None, *np.array({codes.tolist()}, np.int32)]
result = await run(backend, fed, want_logits=True)
"""
        steps = run_in_page(pyodide_page, source, weights, config, tuning=tuning)
        np.testing.assert_allclose(logits_of(steps), logits_of(wanted), atol=LOGIT_TOLERANCE, rtol=0)


def odd_model(d: int, n_heads: int, h: int, context: int) -> tuple[LMConfig, LMWeights]:
    """A random model with matrices of all formats."""
    config = replace(
        golden().lm_config,
        transformer=TransformerConfig(d, 2, n_heads, context, 1000.0),
        n_codebooks=3, card=9, text_card=11, n_extra_heads=0,
    )  # fmt: skip
    rng = np.random.default_rng(4)

    def random(n: int, k: int) -> Float32:
        return rng.standard_normal((n, k), np.float32) / np.float32(np.sqrt(k))

    def layer() -> LayerWeights:
        scales = (1 + rng.standard_normal((2, d), np.float32) / 5).astype(np.float32)
        in_proj, out_proj = quantize(random(3 * d, d)), random(d, d)
        return LayerWeights(scales[0], in_proj, out_proj, scales[1], random(2 * h, d), quantize(random(d, h)))

    tables = [random(config.card + 1, d) for _ in range(config.n_codebooks)]
    return config, LMWeights(
        embeddings=(tables[0], quantize(tables[1]), q8.quantize(tables[2])),
        text_embedding=quantize(random(config.text_card + 1, d)),
        layers=(layer(), layer()),
        out_norm=np.ones(d, np.float32),
        text_linear=quantize(random(config.text_card, d)),
        extra_heads=(),
    )


def test_logits_are_returned_only_on_request(pyodide_page: PyodidePage) -> None:
    steps = run_in_page(pyodide_page, "result = await run(backend, frames[:2])")

    assert [step.logits for step in steps] == [None, None]


def test_model_without_extra_heads(pyodide_page: PyodidePage) -> None:
    step = pyodide_page.run(
        f"{CREATE}\nstep, = await run(backend, [None])\nbackend.close()\nstep",
        config=replace(golden().lm_config, n_extra_heads=0),
        weights=replace(golden().lm_weights, extra_heads=()),
        kv_format="f32",
        tuning=None,
    )

    assert step == Step(token=official_tokens()[0])


def test_steps_can_be_awaited_late_and_in_any_order(pyodide_page: PyodidePage) -> None:
    tokens = run_in_page(
        pyodide_page,
        """
state, tokens = backend.new_state(), []
for first in range(0, len(frames), N_IN_FLIGHT):
    started = [backend.step(state, frame) for frame in frames[first : first + N_IN_FLIGHT]]
    tokens += reversed([(await step).token for step in reversed(started)])
result = tokens
""",
    )

    assert tokens == official_tokens()


def test_too_many_pending_steps_are_rejected_without_effect(pyodide_page: PyodidePage) -> None:
    refusal, tokens = run_in_page(
        pyodide_page,
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


def test_streams_are_independent(pyodide_page: PyodidePage) -> None:
    """One stream alone, then two new streams in alternation."""
    assert run_in_page(pyodide_page, STREAMS) == [official_tokens()] * 3


def test_deleted_stream_frees_its_memory(pyodide_page: PyodidePage) -> None:
    """The driver reports the later use of a destroyed buffer."""
    report = run_in_page(
        pyodide_page,
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


def test_a_step_creates_only_a_command_encoder(pyodide_page: PyodidePage) -> None:
    """A step creates one encoder and no other GPU object. It writes once and submits once."""
    calls = run_in_page(
        pyodide_page,
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


def test_long_streams_use_constant_memory(pyodide_page: PyodidePage) -> None:
    """Thousands of steps over a small KV cache create no GPU object, and Python keeps no memory."""
    config, weights = odd_model(d=12, n_heads=1, h=7, context=5)
    n_created, n_objects, n_heap_bytes, position = run_in_page(
        pyodide_page,
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


def test_lost_device_is_reported_by_every_later_step(pyodide_page: PyodidePage) -> None:
    kinds = run_in_page(
        pyodide_page,
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


def test_needed_limits_do_not_read_the_tables() -> None:
    config, weights = golden().lm_config, golden().lm_weights
    k = config.transformer.d

    def unread(part: str) -> NDArray[Any]:
        raise AssertionError(part)

    tables = tuple(LazyQ8Matrix(10_000, k, unread) for _ in weights.embeddings)
    text_table = LazyQ8Matrix(20_000, k, unread)
    large = replace(weights, embeddings=tables, text_embedding=text_table)
    limits = needed_limits(config, large, Tuning(), "f16")
    assert limits["maxBufferSize"] == (10_000 * len(tables) + 20_000) * k


def test_model_too_large_for_the_adapter_names_the_limit(pyodide_page: PyodidePage) -> None:
    sizes = golden().lm_config.transformer
    wider = replace(golden().lm_config, transformer=replace(sizes, context=10_000_000))

    with pytest.raises(Error, match=r"GpuLimit: .* maxBufferSize is \d+, 2560000000 is needed"):
        run_in_page(pyodide_page, "", config=wider, kv_format="f16")
