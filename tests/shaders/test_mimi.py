"""Mimi's kernels against their numpy twins, in calls of 1 to 64 frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.app.golden import golden
from tests.conftest import PyodidePage
from tests.shaders.conftest import Arrays, assert_close
from tympan.arrays import Float32, Int32
from tympan.mimi.activations import activate, elu
from tympan.mimi.conv import ConvState, ConvWeights, conv
from tympan.mimi.kernels import Activation
from tympan.mimi.linear import Linear
from tympan.mimi.quantizer import ResidualQuantizer
from tympan.mimi.transformer import attention, layer_norm
from tympan.mimi.webgpu.kernels import NEVER, Product, Search, Tile, Tuning, attention_invocations
from tympan.rope import Rotation

TUNINGS = {
    "rows": Tuning(n_tiles=NEVER, n_row_invocations=8, n_lane_loads=2),
    "tiles": Tuning(tile=Tile(8, 4, 2), n_tiles=0),
    "large tiles": Tuning(tile=Tile(8, 8, 4), n_tiles=0),
    "one split": Tuning(tile=Tile(16, 16, 1), n_tiles=0),
    "many lanes": Tuning(n_tiles=NEVER, n_lane_loads=1, attention=64),
}
T = [1, 3, 64]
PER_FRAME = 2  # rows of a product per frame
N_SLOTS = 256

RUN = """
from kernel_runner import run_mimi_kernel

await run_mimi_kernel(name, config, arrays, tuning, n_slots, n_workgroups, options)
"""


@pytest.fixture
def run_mimi(kernel_runner: PyodidePage) -> Callable[..., Arrays]:
    """`run_mimi(name, *arrays, n_workgroups=, tuning=, **options)`: contents of the buffers after one dispatch."""

    def run(
        name: str, *arrays: Any, n_workgroups: int, tuning: Tuning = TUNINGS["rows"], config: Any = None, **options: Any
    ) -> Arrays:
        results: Arrays = kernel_runner.run(
            RUN,
            name=name, config=config or golden().mimi.config, arrays=list(arrays), tuning=tuning, n_slots=N_SLOTS,
            n_workgroups=n_workgroups, options=options,
        )  # fmt: skip
        return results

    return run


def call_of(n_frames: int, half: int = 0, slot: int = 0, n_before: int = 0, rotations: Float32 | None = None) -> Any:
    """The buffer of mimi_call.wgsl."""
    header = np.array([n_frames, half, slot, n_before], np.uint32)
    angles = np.zeros(2, np.float32) if rotations is None else rotations.reshape(-1)
    return np.concatenate([header, angles.view(np.uint32)])


def run_product(run_mimi: Any, product: Product, tuning: Tuning, n_frames: int, *arrays: Any) -> Arrays:
    in_tiles = product.uses_tiles(tuning, n_frames)
    n_workgroups = product.n_workgroups(tuning, n_frames, in_tiles)
    results: Arrays = run_mimi(
        "product", *arrays, n_workgroups=n_workgroups, tuning=tuning, product=product, in_tiles=in_tiles
    )
    return results


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
@pytest.mark.parametrize("n_frames", T)
@pytest.mark.parametrize(
    ("weights", "n", "k", "scales", "adds_out", "activation"),
    [
        ("f32", 4, 4, False, False, Activation.NONE),
        ("f32", 36, 100, True, True, Activation.GELU),
        ("f16", 32, 64, False, True, Activation.ELU),
        ("i8", 68, 36, True, False, Activation.NONE),
    ],
)
def test_product_equals_numpy(
    run_mimi: Any,
    rng: np.random.Generator,
    tuning: Tuning,
    n_frames: int,
    weights: Any,
    n: int,
    k: int,
    scales: bool,
    adds_out: bool,
    activation: Activation,
) -> None:
    n_rows = n_frames * PER_FRAME
    values = rng.standard_normal((n, k), np.float32)
    matrix: Any = {"f32": values, "f16": values.astype(np.float16), "i8": (20 * values).astype(np.int8)}[weights]
    x, before = rng.standard_normal((n_rows, k), np.float32), rng.standard_normal((n_rows, n), np.float32)
    vector = rng.standard_normal(n, np.float32)
    product = Product("test", weights, n, k, PER_FRAME, scales=scales, adds_out=adds_out, activation=activation)

    _, _, out, *_ = run_product(run_mimi, product, tuning, n_frames, matrix, x, before, call_of(n_frames), vector)

    sums = x @ matrix.astype(np.float32).T
    assert_close(out, activate((sums * vector if scales else sums + vector) + before * adds_out, activation))


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
@pytest.mark.parametrize("n_frames", T)
def test_norm_of_the_input_equals_numpy(run_mimi: Any, rng: np.random.Generator, tuning: Tuning, n_frames: int) -> None:
    n, k, n_rows = 12, 72, n_frames * PER_FRAME
    x, matrix = 3 + rng.standard_normal((n_rows, k), np.float32), rng.standard_normal((n, k), np.float32)
    norm, out = rng.standard_normal((2, k), np.float32), np.zeros((n_rows, n), np.float32)
    product = Product("test", "f32", n, k, PER_FRAME, input="norm")

    _, _, out, *_ = run_product(
        run_mimi, product, tuning, n_frames, matrix, x, out, call_of(n_frames), np.zeros(n, np.float32), norm
    )

    assert_close(out, layer_norm(x, *norm) @ matrix.T)


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
@pytest.mark.parametrize("n_frames", T)
@pytest.mark.parametrize(
    ("channels", "size", "stride", "applies_elu", "replicates"),
    [(4, 3, 1, True, False), (8, 10, 5, False, False), (12, 4, 2, False, True)],
)
def test_convolution_in_two_calls_equals_numpy(
    run_mimi: Any,
    rng: np.random.Generator,
    tuning: Tuning,
    n_frames: int,
    channels: int,
    size: int,
    stride: int,
    applies_elu: bool,
    replicates: bool,
) -> None:
    """The second call reads the history that the kernel before the convolution has stored, here by numpy."""
    n, n_next, n_rows = 8, 2, n_frames * PER_FRAME
    matrix, bias = rng.standard_normal((n, size * channels), np.float32), rng.standard_normal(n, np.float32)
    inputs = rng.standard_normal((2, n_rows * stride, channels), np.float32)
    product = Product(
        "test", "f32", n, size * channels, PER_FRAME, input="history", output="history", channels=channels,
        stride=stride, applies_elu=applies_elu, replicates=replicates, n_next=n_next,
    )  # fmt: skip
    weights = ConvWeights(Linear(matrix, bias), channels, stride, replicates)
    state, n_history = ConvState(), product.n_history
    history, next_history = np.zeros((2, n_history, channels), np.float32), np.zeros((2, n_next, n), np.float32)
    for half, x in enumerate(inputs):
        call = call_of(n_frames, half, n_before=half)
        *_, out, _, _, _, next_history = run_product(
            run_mimi, product, tuning, n_frames,
            matrix, x, np.zeros((n_rows, n), np.float32), call, bias, history, next_history,
        )  # fmt: skip
        wanted = conv(weights, state, elu(x) if applies_elu else x)
        assert_close(out, wanted)
        np.testing.assert_array_equal(next_history[1 - half], out[-n_next:])
        history[1 - half] = np.concatenate([history[half], x])[-n_history:]


@pytest.mark.parametrize("n_frames", T)
def test_first_convolution_equals_numpy(run_mimi: Any, rng: np.random.Generator, n_frames: int) -> None:
    n, size, per_frame, n_next = 12, 7, 30, 2
    n_rows = n_frames * per_frame
    matrix, bias = rng.standard_normal((n, size), np.float32), rng.standard_normal(n, np.float32)
    samples, next_history = rng.standard_normal(size - 1 + n_rows, np.float32), np.zeros((2, n_next, n), np.float32)
    out, tuning = np.zeros((n_rows, n), np.float32), Tuning(attention=16)

    *_, out, _, _, next_history = run_mimi(
        "first", np.ascontiguousarray(matrix.T), samples, out, call_of(n_frames), bias, None, next_history,
        n_workgroups=-(-n_rows * n // 4 // 16), tuning=tuning,
        n=n, size=size, rows_per_frame=per_frame, n_next=n_next,
    )  # fmt: skip

    assert_close(out, np.lib.stride_tricks.sliding_window_view(samples, size) @ matrix.T + bias)
    np.testing.assert_array_equal(next_history[1], out[-n_next:])


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
@pytest.mark.parametrize("n_frames", T)
def test_queries_keys_and_values_equal_numpy(
    run_mimi: Any, rng: np.random.Generator, tuning: Tuning, n_frames: int
) -> None:
    """The slots of the KV cache wrap."""
    sizes = golden().mimi.config.transformer
    d, n_heads, width, n_rows, slot = sizes.d, sizes.n_heads, sizes.head_width, n_frames * PER_FRAME, N_SLOTS - 2
    matrix, x = rng.standard_normal((3 * d, d), np.float32), rng.standard_normal((n_rows, d), np.float32)
    rotation = Rotation.at(1_000_003, n_rows, width, sizes.max_period)
    call = call_of(n_frames, slot=slot, rotations=np.stack([rotation.cos, rotation.sin], axis=-1))
    keys, values = rng.standard_normal((2, N_SLOTS, d), np.float32)
    product = Product("test", "f32", 3 * d, d, PER_FRAME, output="qkv")

    *_, query, _, keys_after, values_after = run_product(
        run_mimi,
        product,
        tuning,
        n_frames,
        matrix,
        x,
        np.zeros((n_rows, d), np.float32),
        call,
        None,
        None,
        keys,
        values,
    )

    q, k, v = (x @ matrix.T).reshape(n_rows, 3, n_heads, width).swapaxes(0, 1)
    slots = (slot + np.arange(n_rows)) % N_SLOTS
    keys[slots], values[slots] = rotation.apply(k).reshape(n_rows, d), v.reshape(n_rows, d)
    assert_close(query, rotation.apply(q).reshape(n_rows, d) / np.float32(np.sqrt(width)))
    assert_close(keys_after, keys)
    assert_close(values_after, values)


@pytest.mark.parametrize("n_before", [0, 5, 40])
@pytest.mark.parametrize("n_frames", T)
@pytest.mark.parametrize("n_invocations", [4, 64])
def test_attention_equals_numpy(
    run_mimi: Any, rng: np.random.Generator, n_frames: int, n_before: int, n_invocations: int
) -> None:
    """Key j is visible to query p iff e - context < j <= p, where e is the last position of the frame of p."""
    config = golden().mimi.config
    sizes = config.transformer
    d, n_heads, width, n_rows = sizes.d, sizes.n_heads, sizes.head_width, n_frames * PER_FRAME
    first, slot = 3 * N_SLOTS - 4, N_SLOTS - 4  # the position of the first query, and its slot
    q = rng.standard_normal((n_rows, d), np.float32)
    keys, values = rng.standard_normal((2, N_SLOTS, d), np.float32)
    tuning = Tuning(attention=n_invocations)
    assert attention_invocations(tuning, config) == n_invocations

    call, out = call_of(n_frames, slot=slot, n_before=n_before), np.zeros((n_rows, d), np.float32)

    *_, out = run_mimi(
        "attention", call, q, keys, values, out,
        n_workgroups=n_rows * n_heads, tuning=tuning, rows_per_frame=PER_FRAME,
    )  # fmt: skip

    positions = np.arange(first, first + n_rows)
    last_of_frame = first + np.arange(n_rows) // PER_FRAME * PER_FRAME + PER_FRAME - 1
    cached = np.arange(first - n_before, first + n_rows)
    visible = (cached > last_of_frame[:, None] - sizes.context) & (cached <= positions[:, None])
    heads = (-1, n_heads, width)
    order = cached % N_SLOTS
    scaled = q.reshape(heads) * np.float32(np.sqrt(width))  # the kernel's query is scaled already
    assert_close(out, attention(scaled, keys[order].reshape(heads), values[order].reshape(heads), visible))


def quantize(
    run_mimi: Any, config: Any, search: Search, codebooks: Any, norms: Any, projected: Any, offsets: Any, codes: Any,
    weights: str = "f32",
) -> Any:  # fmt: skip
    """The codes (n_frames, row_words) after a dispatch for each level."""
    n_frames, n_splits = len(codes), search.splits_of(config.n_bins)
    residuals = np.zeros((2, n_frames, config.quantizer_width), np.float32)
    candidates = np.zeros((2, n_frames, n_splits, 2), np.uint32)
    for level in range(config.n_codebooks + 1):
        *_, codes, _, residuals, candidates = run_mimi(
            "quantize", codebooks, norms, projected, offsets, codes, np.array([level], np.uint32), residuals,
            candidates,
            n_workgroups=n_frames * n_splits, tuning=Tuning(search=search), config=config,
            weights=weights, row_words=codes.shape[1], max_frames=n_frames,
        )  # fmt: skip
    return codes


@pytest.mark.parametrize("n_frames", [1, 5, 64])
@pytest.mark.parametrize(
    ("weights", "search"), [("f32", Search(16, 1, 1)), ("f16", Search(64, 4, 3)), ("f32", Search(32, 8, 64))]
)
@pytest.mark.parametrize(("n_bins", "width"), [(128, 32), (37, 20)])
def test_quantizer_equals_numpy(
    run_mimi: Any,
    rng: np.random.Generator,
    n_frames: int,
    weights: str,
    search: Search,
    n_bins: int,
    width: int,
) -> None:
    config = replace(golden().mimi.config, n_bins=n_bins, quantizer_width=width, n_codebooks=5)
    n, row_words = config.n_codebooks, 8
    sums = rng.standard_normal((n, n_bins, width), np.float32).astype(np.float16 if weights == "f16" else np.float32)
    usage = rng.uniform(0.5, 2, (n, n_bins)).astype(np.float32)
    centroids = sums.astype(np.float32) / usage[..., None]
    norms = np.stack([usage, np.float32(0.5) * np.square(centroids).sum(axis=-1)], axis=-1)
    projected = rng.standard_normal((n_frames, 2, width), np.float32)
    columns, offsets = np.array([4, 0, 7, 2, 1]), np.array([10, 0, 300, 5, 0])
    transposed = np.ascontiguousarray(sums.reshape(n, n_bins, width // 4, 4).swapaxes(1, 2))

    found = quantize(
        run_mimi, config, search, transposed, norms, projected,
        np.stack([columns, offsets], axis=1).astype(np.uint32), np.full((n_frames, row_words), 77, np.uint32), weights,
    )  # fmt: skip

    identity = Linear(np.eye(width, dtype=np.float32))
    halves: list[Int32] = [
        ResidualQuantizer(identity, centroids[part]).encode(np.ascontiguousarray(projected[:, half]))
        for half, part in enumerate((slice(0, 1), slice(1, n)))
    ]
    wanted = np.full((n_frames, row_words), 77)
    wanted[:, columns] = np.concatenate(halves, axis=1) + offsets
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("search", [Search(8, 1, 1), Search(8, 2, 4)])
def test_a_tie_gives_the_lowest_code(run_mimi: Any, search: Search) -> None:
    config = replace(golden().mimi.config, n_bins=40, quantizer_width=4, n_codebooks=1)
    codebook = np.ones((1, 1, 40, 4), np.float32)
    norms = np.stack([np.ones((1, 40), np.float32), np.full((1, 40), 2, np.float32)], axis=-1)
    norms[0, :3, 1] = 9  # entries 0 to 2 are farther away, all others equally near
    projected, offsets, codes = np.ones((1, 2, 4), np.float32), np.zeros((1, 2), np.uint32), np.zeros(1, np.uint32)

    codes = quantize(run_mimi, config, search, codebook, norms, projected, offsets, codes[None])[0]

    assert codes[0] == 3
