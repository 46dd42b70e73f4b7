"""A GPU that computes wrongly is refused: here by shaders in which one thing is changed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error

from tests.app.golden import golden
from tests.app.test_lm_webgpu import frames, in_q4
from tests.conftest import PyodidePage

BROKEN = """
import tympan.gpu.kernel
from tympan.lm.webgpu.kernels import Tuning
from tympan.lm.webgpu.backend import WebGPUBackend

source_of, suits = tympan.gpu.kernel.source_of, Tuning.of

def broken(name):
    source = source_of(name)
    assert name != shader or right in source, source
    return source.replace(right, wrong) if name == shader else source

tympan.gpu.kernel.source_of = broken
if subgroup_width:
    Tuning.of = lambda adapter, ring: Tuning(subgroup_width)
try:
    backend = await WebGPUBackend.create(config, weights)
finally:
    tympan.gpu.kernel.source_of, Tuning.of = source_of, suits
state = backend.new_state()
result = backend.tuning.subgroup_width, [(await backend.step(state, frame)).token for frame in frames]
backend.close()
result
"""


def opened(page: PyodidePage, shader: str, right: str, wrong: str, subgroup_width: int = 0) -> tuple[int, list[int]]:
    """Which subgroups are used, and what is said. right: the text of a shader that becomes `wrong`."""
    result: tuple[int, list[int]] = page.run(
        BROKEN,
        shader=shader, right=right, wrong=wrong, subgroup_width=subgroup_width,
        config=golden().lm_config, weights=in_q4(golden().lm_weights), frames=frames()[:3],
    )  # fmt: skip
    return result


@pytest.mark.parametrize(
    ("shader", "right", "wrong", "kernel"),
    [
        ("embed", "sum += quad_of(rows[t], quad)", "sum = quad_of(rows[t], quad)", "embed"),
        ("q4_floats", "- 8.0 * total", "- 7.0 * total", "qkv"),
        ("qkv", "pair.y * rotation.x)", "pair.y * rotation.y)", "qkv"),
        ("normed", "sums.squares / f32(k)", "sums.squares", "qkv"),
        ("attention", "sum += of_query * pairs_of", "sum -= of_query * pairs_of", "attention"),
        ("out_proj", "before.x + sums", "sums", "attention"),
        ("gate_up", "* sums.zw", "* sums.zz", "gate_up"),
        ("down", "before.x + sums", "before.x - sums", "down"),
        ("head", "logits[quad] = sums", "logits[quad] = sums.yxzw", "head"),
        ("argmax", "b.logit > a.logit", "b.logit < a.logit", "argmax"),
    ],
)
def test_every_wrong_kernel_is_found(
    pyodide_page: PyodidePage, shader: str, right: str, wrong: str, kernel: str
) -> None:
    with pytest.raises(Error, match=f"GpuWrong: This GPU computes wrongly: .* “{kernel}”"):
        opened(pyodide_page, shader, right, wrong)


def test_subgroups_that_are_wrong_are_not_used(pyodide_page: PyodidePage) -> None:
    width, tokens = opened(
        pyodide_page, "lanes_subgroup", "sums.rows += subgroupShuffleXor", "sums.rows -= subgroupShuffleXor", 4
    )

    assert (width, tokens) == (0, official_q4_tokens(pyodide_page))


def test_subgroups_that_are_right_are(pyodide_page: PyodidePage) -> None:
    assert opened(pyodide_page, "lanes_subgroup", "sums.rows += ", "sums.rows += ", 4) == (
        4,
        official_q4_tokens(pyodide_page),
    )


def official_q4_tokens(page: PyodidePage) -> list[int]:
    return opened(page, "down", "before.x + sums", "before.x + sums")[1]
