"""The encoder on the GPU: weights, intermediate results, and the sequence of kernels of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tympan.codes import CodeLayout
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.gpu.buffers import BINDING_ALIGNMENT_BYTES, WORD_BYTES, Buffer, Usage, align
from tympan.gpu.device import Device
from tympan.gpu.kernel import Dispatch, Kernel
from tympan.mimi.webgpu import kernels
from tympan.mimi.webgpu.kernels import VEC4, Product, Tuning, WeightFormat, for_frames

PART_FRAMES = 8  # that SEANet processes at once: its results are large


@dataclass(frozen=True)
class Matrix:
    """A product with its kernels, its matrix, and the vector of its result."""

    product: Product
    in_rows: Kernel | None  # None where every call is in tiles
    in_tiles: Kernel | None  # None where no call is large enough for tiles
    weights: Buffer
    vector: Buffer | None  # a bias or scale; None where the result is written to the KV cache

    def bind(self, x: Buffer, out: Buffer, call: Buffer, *others: Buffer | None) -> Step:
        """others: bindings 5, 6 and 7."""
        bound = self.weights, x, out, call, self.vector, *others
        in_rows = self.in_rows.bind(self.product.label, *bound) if self.in_rows else None
        return Step(self.product, in_rows, self.in_tiles.bind(self.product.label, *bound) if self.in_tiles else None)


class Step(NamedTuple):
    """A dispatch of a call, for any number of frames."""

    product: Product | None  # None where the grid is a multiple of that of one frame
    dispatch: Dispatch | None  # None where every call is in tiles
    in_tiles: Dispatch | None = None
    part: int | None = None  # of the frames, for SEANet; None for a step that processes all frames

    def n_frames(self, n: int) -> int:
        """Return how many of the n frames of a call this step processes."""
        return n if self.part is None else min(PART_FRAMES, max(0, n - self.part * PART_FRAMES))

    def at(self, tuning: Tuning, n: int) -> Dispatch | None:
        """Return the dispatch in a call of n frames; None if there is nothing to do."""
        n_frames = self.n_frames(n)
        if n_frames == 0:
            return None
        uses_tiles = self.product is not None and self.product.uses_tiles(tuning, n_frames)
        chosen = self.in_tiles if uses_tiles else self.dispatch
        assert chosen is not None, "the loader compiles what a call of up to the largest size uses"
        if self.product is None:
            return for_frames(chosen, n_frames * chosen.n_workgroups)
        return for_frames(chosen, self.product.n_workgroups(tuning, n_frames, uses_tiles))


class PartInputs(NamedTuple):
    """The inputs of SEANet for some of the frames of a call."""

    call: Buffer
    samples: Buffer


@dataclass(frozen=True)
class Stage:
    """A residual block and a strided convolution of SEANet."""

    wide: Matrix
    narrow: Matrix
    down: Matrix


@dataclass(frozen=True)
class Layer:
    """A layer of the transformer."""

    norm1: Buffer
    in_proj: Matrix
    out_proj: Matrix
    norm2: Buffer
    linear1: Matrix
    linear2: Matrix


@dataclass(frozen=True)
class Stream:
    """The buffers of one stream: the histories of the convolutions by their labels, and the KV caches."""

    histories: Mapping[str, Buffer]
    kv_caches: tuple[tuple[Buffer, Buffer], ...]  # keys, values of each layer

    @property
    def buffers(self) -> list[Buffer]:
        return [*self.histories.values(), *(buffer for cache in self.kv_caches for buffer in cache)]


@dataclass(frozen=True)
class Model:
    """All weights and kernels. Read only: inputs and streams are passed to `forward`."""

    device: Device
    config: MimiConfig
    n_slots: int
    first: Kernel
    first_weights: tuple[Buffer, Buffer]  # transposed matrix, bias
    stages: tuple[Stage, ...]
    last: Matrix
    layers: tuple[Layer, ...]
    attention: Kernel
    downsample: Matrix
    project: Matrix
    quantize: Kernel
    codebook_format: WeightFormat
    codebooks: tuple[Buffer, Buffer, Buffer]  # sums, (usage, half norms), offsets
    levels: Buffer  # the number of each level of the quantizer, BINDING_ALIGNMENT_BYTES apart
    layout: CodeLayout
    scratch: Mapping[str, Buffer]
    buffers: tuple[Buffer, ...]  # all of these
    n_bytes: int  # of all weights

    def new_stream(self) -> Stream:
        """The buffers of a new stream."""
        d, usage = self.config.transformer.d, Usage.STORAGE
        convs = [self.last, self.downsample, *(conv for stage in self.stages for conv in (stage.wide, stage.down))]
        histories = {}
        for product in (conv.product for conv in convs):
            n_bytes = WORD_BYTES * max(VEC4, 2 * product.n_history * product.channels)
            histories[product.label] = Buffer.new(self.device, f"{product.label}.history", n_bytes, usage)
        n_bytes = WORD_BYTES * self.n_slots * d
        kv_caches = tuple(
            (
                Buffer.new(self.device, f"mimi.layer{i}.keys", n_bytes, usage),
                Buffer.new(self.device, f"mimi.layer{i}.values", n_bytes, usage),
            )
            for i in range(len(self.layers))
        )
        return Stream(histories, kv_caches)

    def forward(self, call: Buffer, parts: Sequence[PartInputs], stream: Stream, codes: Buffer) -> Iterator[Step]:
        """Return the dispatches of a call, in order.

        call: of all frames. parts: of the frames 0 to PART_FRAMES - 1, and so on. codes: the result, rows of `layout`.
        """
        s, histories = self.scratch, stream.histories
        for i, part in enumerate(parts):
            for step in self._seanet(part, self._rows_of_part(i), histories):
                yield step._replace(part=i)
        downsampled = histories[self.downsample.product.label]
        for i, (layer, (keys, values)) in enumerate(zip(self.layers, stream.kv_caches, strict=True)):
            is_last = i == len(self.layers) - 1
            yield layer.in_proj.bind(s["x"], s["query"], call, layer.norm1, keys, values)
            attention = self.attention.bind(f"mimi.layer{i}.attention", call, s["query"], keys, values, s["attended"])
            yield Step(None, attention)
            yield layer.out_proj.bind(s["attended"], s["x"], call)
            yield layer.linear1.bind(s["x"], s["hidden"], call, layer.norm2)
            yield layer.linear2.bind(s["hidden"], s["x"], call, *([None, downsampled] if is_last else []))
        yield self.downsample.bind(s["x"], s["latent"], call, downsampled)
        yield self.project.bind(s["latent"], s["projected"], call)
        sums, norms, offsets = self.codebooks
        for level in range(self.config.n_codebooks + 1):
            number = self.levels.range(f"level{level}", level * BINDING_ALIGNMENT_BYTES, WORD_BYTES)
            bound = sums, norms, s["projected"], offsets, codes, number, s["residuals"], s["candidates"]
            yield Step(None, self.quantize.bind("mimi.quantize", *bound))

    def _seanet(self, part: PartInputs, x: Buffer, histories: Mapping[str, Buffer]) -> Iterator[Step]:
        """Return the dispatches of SEANet. x: the rows of the residual stream that it writes."""
        call, a, b = part.call, self.scratch["a"], self.scratch["b"]
        convs = [conv.product.label for stage in self.stages for conv in (stage.wide, stage.down)]
        later = iter([*convs[1:], self.last.product.label])
        weights, bias = self.first_weights
        yield Step(None, self.first.bind("mimi.first", weights, part.samples, a, call, bias, None, histories[convs[0]]))
        for stage in self.stages:
            yield stage.wide.bind(a, b, call, histories[stage.wide.product.label])
            yield stage.narrow.bind(b, a, call, None, histories[next(later)])
            yield stage.down.bind(a, b, call, histories[stage.down.product.label], histories[next(later)])
            a, b = b, a
        yield self.last.bind(a, x, call, histories[self.last.product.label])

    def _rows_of_part(self, i: int) -> Buffer:
        """Return the rows of the residual stream for part i of the frames."""
        n_bytes = WORD_BYTES * PART_FRAMES * self.last.product.rows_per_frame * self.config.transformer.d
        return self.scratch["x"].range(f"part{i}", i * n_bytes, n_bytes)


def needed_limits(config: MimiConfig, hidden: int, tuning: Tuning, max_frames: int, n_slots: int) -> dict[str, int]:
    """The WebGPU limits, by name, that a device needs for this encoder."""
    sizes = config.transformer
    tile = tuning.tile
    attention = kernels.attention_invocations(tuning, config)
    widest = 2 ** len(config.ratios) * config.n_filters
    largest = max(
        config.n_codebooks * config.n_bins * config.quantizer_width,
        widest * widest // 2 * 2 * max(config.ratios),
        hidden * sizes.d,
        3 * sizes.d**2,
        PART_FRAMES * FRAME_SAMPLES * config.n_filters,
        max_frames * FRAME_SAMPLES,
        n_slots * sizes.d,
    )
    n_invocations = max(
        tile.n_invocations, kernels.MAX_LANES, tuning.n_row_invocations, attention, tuning.search.n_invocations
    )
    shared_floats = max(
        VEC4 * VEC4 * VEC4 * tile.n_splits * (tile.n_x + tile.n_y),
        VEC4 * VEC4 * max(kernels.MAX_LANES, tuning.n_row_invocations),
        sizes.context + VEC4 * attention,
        config.quantizer_width + 3 * tuning.search.n_invocations,
    )
    n_rows = PART_FRAMES * FRAME_SAMPLES
    return {
        "maxBufferSize": align(WORD_BYTES * largest, WORD_BYTES),
        "maxStorageBufferBindingSize": align(WORD_BYTES * largest, WORD_BYTES),
        "maxStorageBuffersPerShaderStage": kernels.MAX_BINDINGS,
        "maxComputeInvocationsPerWorkgroup": n_invocations,
        "maxComputeWorkgroupSizeX": n_invocations,
        "maxComputeWorkgroupStorageSize": WORD_BYTES * shared_floats,
        "maxComputeWorkgroupsPerDimension": max(
            -(-n_rows * config.n_filters // VEC4 // tuning.attention),
            tile.n_workgroups(n_rows, config.n_filters),
            max_frames * kernels.MAX_SPLITS,
        ),
    }
