"""The self-check rejects a GPU that computes wrong results, simulated by changing one expression of a shader."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error

from tests.app.golden import golden
from tests.app.golden_lm import frames, in_q4, reference_steps
from tests.conftest import PyodidePage

N_FRAMES = 3
BROKEN = """
import tympan.gpu.shaders
from tympan.lm.webgpu.kernels import Tuning
from tympan.lm.webgpu.backend import WebGPUBackend

read_shader, for_adapter = tympan.gpu.shaders.read_shader, Tuning.for_adapter

def broken(folder, file):
    source = read_shader(folder, file)
    if file != f"{shader}.wgsl":
        return source
    assert right in source, source
    return source.replace(right, wrong)

tympan.gpu.shaders.read_shader = broken
if subgroup_width:
    Tuning.for_adapter = lambda adapter, kv_format: Tuning(subgroup_width)
try:
    backend = await WebGPUBackend.create(config, weights)
finally:
    tympan.gpu.shaders.read_shader, Tuning.for_adapter = read_shader, for_adapter
state = backend.new_state()
result = backend.tuning.subgroup_width, [(await backend.step(state, frame)).token for frame in frames]
backend.close()
result
"""


def opened(page: PyodidePage, shader: str, right: str, wrong: str, subgroup_width: int = 0) -> tuple[int, list[int]]:
    """The subgroup width in use and the tokens, with the text `right` of a shader replaced by `wrong`."""
    result: tuple[int, list[int]] = page.run(
        BROKEN,
        shader=shader, right=right, wrong=wrong, subgroup_width=subgroup_width,
        config=golden().lm_config, weights=in_q4(golden().lm_weights), frames=frames()[:N_FRAMES],
    )  # fmt: skip
    return result


def numpy_tokens() -> list[int]:
    """The tokens of these frames by numpy."""
    return [step.token for step in reference_steps(in_q4(golden().lm_weights))[:N_FRAMES]]


@pytest.mark.parametrize(
    ("shader", "right", "wrong", "kernel"),
    [
        ("embed", "sum += matrix_vec4(rows[t], i)", "sum = matrix_vec4(rows[t], i)", "embed"),
        ("q4_floats", "- 8.0 * total", "- 7.0 * total", "qkv"),
        ("qkv", "pair.y * rotation.x)", "pair.y * rotation.y)", "qkv"),
        ("rms_norm", "sums.squares / f32(k)", "sums.squares", "qkv"),
        ("attention", "sum += query_pair * decode_pairs", "sum -= query_pair * decode_pairs", "attention"),
        ("out_proj", "before.x + sums", "sums", "attention"),
        ("gate_up", "* sums.zw", "* sums.zz", "gate_up"),
        ("down", "before.x + sums", "before.x - sums", "down"),
        ("head", "logits[i] = sums", "logits[i] = sums.yxzw", "head"),
        ("decode", "a.logit > b.logit", "a.logit < b.logit", "decode"),
    ],
)
def test_every_wrong_kernel_is_detected(
    gpu_page: PyodidePage, shader: str, right: str, wrong: str, kernel: str
) -> None:
    with pytest.raises(Error, match=f"GpuWrong: This GPU computes wrongly: .* “{kernel}”"):
        opened(gpu_page, shader, right, wrong)


def test_wrong_subgroups_are_not_used(gpu_page: PyodidePage) -> None:
    width, tokens = opened(
        gpu_page, "lanes_subgroup", "sums.rows += subgroupShuffleXor", "sums.rows -= subgroupShuffleXor", 4
    )

    assert (width, tokens) == (0, numpy_tokens())


def test_subgroups_that_the_browser_does_not_parse_are_not_used(gpu_page: PyodidePage) -> None:
    width, tokens = opened(gpu_page, "lanes_subgroup", "sums.rows += ", "sums.rows ?= ", 4)

    assert (width, tokens) == (0, numpy_tokens())


@pytest.mark.needs("subgroups")
def test_correct_subgroups_are_used(gpu_page: PyodidePage) -> None:
    assert opened(gpu_page, "lanes_subgroup", "sums.rows += ", "sums.rows += ", 4) == (
        4,
        numpy_tokens(),
    )
