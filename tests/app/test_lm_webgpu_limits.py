"""What the WebGPU backend requires of an adapter, and which kernels it selects for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from numpy.typing import NDArray
from playwright.sync_api import Error

from tests.app.golden import golden
from tests.app.webgpu_backend import run_in_page
from tests.conftest import PyodidePage
from tympan.gpu.device import AdapterInfo
from tympan.lm.webgpu.kernels import KVFormat, Tuning
from tympan.lm.webgpu.model import needed_limits
from tympan.weights.q8 import LazyQ8Matrix


@pytest.mark.parametrize(
    ("has_integer_dot", "is_software", "kv_format", "has_integers"),
    [(True, False, "f16", True), (True, False, "f32", False), (False, False, "f16", False), (True, True, "f16", False)],
)
def test_integers_are_not_used_with_a_float32_kv_cache(
    has_integer_dot: bool, is_software: bool, kv_format: KVFormat, has_integers: bool
) -> None:
    adapter = AdapterInfo("nvidia", "", "", is_software, subgroup_width=32, has_integer_dot=has_integer_dot)

    assert Tuning.for_adapter(adapter, kv_format).has_integers is has_integers


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
