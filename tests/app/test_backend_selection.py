"""Which backend `auto` selects, and the reason that is shown."""

from __future__ import annotations

import pytest

from tests.app.golden import golden
from tests.awaiting import run
from tympan import latency
from tympan.gpu.device import AdapterInfo
from tympan.lm import backend_selection
from tympan.lm.backend import CompletedStep
from tympan.lm.backend_selection import choose, is_gpu_too_slow, n_multiplications
from tympan.lm.reference import Reference

GPU = AdapterInfo("nvidia", "ampere", "", is_software=False, subgroup_width=32, has_integer_dot=True)
SWIFTSHADER = AdapterInfo("google", "swiftshader", "", is_software=True, subgroup_width=4, has_integer_dot=True)


@pytest.fixture
def simd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a browser with WebAssembly SIMD."""
    monkeypatch.setattr(backend_selection, "simd_kernels", object)


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize(
    ("requested", "adapter", "kinds", "why"),
    [
        ("auto", GPU, ("webgpu", "simd"), "a GPU is available"),
        ("auto", SWIFTSHADER, ("simd",), "emulated in software"),
        ("auto", None, ("simd",), "does not offer WebGPU"),
        ("webgpu", None, ("webgpu",), "selected in the address"),
        ("simd", GPU, ("simd",), "selected in the address"),
        ("numpy", GPU, ("numpy",), "selected in the address"),
    ],
)
def test_selected_backends_and_reason(
    requested: str, adapter: AdapterInfo | None, kinds: tuple[str, ...], why: str
) -> None:
    chosen = choose(requested, adapter)
    assert chosen.kinds == kinds
    assert why in str(chosen.why)


def test_numpy_replaces_simd_where_it_is_missing() -> None:
    assert choose("auto", None).kinds == ("numpy",)
    assert choose("auto", GPU).kinds == ("webgpu", "numpy")
    chosen = choose("simd", GPU)
    assert chosen.kinds == ("numpy",)
    assert "lacks WebAssembly SIMD" in str(chosen.why)


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize(
    ("gpu_ms", "cpu_ms", "why"),
    [(70, 45, "70 ms per frame, the CPU about 45"), (70, 90, ""), (15, 5, ""), (3, 50, "")],
)
def test_gpu_that_is_slower_than_the_cpu_is_not_selected(
    monkeypatch: pytest.MonkeyPatch, gpu_ms: float, cpu_ms: float, why: str
) -> None:
    """A GPU that is fast enough is kept even if the CPU is faster."""
    weights = golden().lm_weights
    now_s = [0.0]

    class Gpu(Reference):
        def step(self, *arguments: object, **options: object) -> CompletedStep:
            now_s[0] += gpu_ms / 1000
            return super().step(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(latency, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(
        backend_selection, "_multiplications_per_ms", lambda kernels: n_multiplications(weights) / cpu_ms
    )
    too_slow = run(is_gpu_too_slow(Gpu(golden().lm_config, weights), weights))
    assert str(too_slow or "").endswith(why)
    assert bool(too_slow) == bool(why)


def test_n_multiplications() -> None:
    config, weights = golden().lm_config, golden().lm_weights
    d, h = config.transformer.d, weights.hidden
    assert n_multiplications(weights) == config.transformer.n_layers * (4 * d * d + 3 * d * h) + config.text_card * d
