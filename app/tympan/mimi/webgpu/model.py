"""The encoder on the GPU: weights, intermediate results, and the sequence of kernels of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.errors import GpuFault
from tympan.gpu.buffers import WORD_BYTES, Buffer, Usage, align, upload, upload_stream
from tympan.gpu.device import Device
from tympan.gpu.kernel import Dispatch, Kernel
from tympan.mimi.kernels import Activation
from tympan.mimi.quantizer import MIN_USAGE
from tympan.mimi.webgpu import kernels
from tympan.mimi.webgpu.kernels import VEC4, MimiGpuKernels, Product, Tuning, WeightFormat, for_frames
from tympan.weights.tensors import Tensors

PART_FRAMES = 8  # that SEANet processes at once: its results are large
DOWNSAMPLE_SIZE, DOWNSAMPLE_STRIDE = 4, 2
_FORMATS: dict[str, WeightFormat] = {"float16": "f16", "int8": "i8"}  # all other dtypes are converted to f32


@dataclass(frozen=True)
class Matrix:
    """A product with its kernels, its matrix, and the vector of its result."""

    product: Product
    in_rows: Kernel
    in_tiles: Kernel
    weights: Buffer
    vector: Buffer | None  # a bias or scale; None where the result is written to the KV cache

    def bind(self, x: Buffer, out: Buffer, call: Buffer, *others: Buffer | None) -> Step:
        """others: bindings 5, 6 and 7."""
        bound = self.weights, x, out, call, self.vector, *others
        label = self.product.label
        return Step(self.product, self.in_rows.bind(label, *bound), self.in_tiles.bind(label, *bound))


class Step(NamedTuple):
    """A dispatch of a call, for any number of frames."""

    product: Product | None  # None where the grid is a multiple of that of one frame
    dispatch: Dispatch
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
        if self.product is None or self.in_tiles is None:
            return for_frames(self.dispatch, n_frames * self.dispatch.n_workgroups)
        uses_tiles = self.product.uses_tiles(tuning, n_frames)
        chosen = self.in_tiles if uses_tiles else self.dispatch
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
    scratch: Mapping[str, Buffer]
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

        call: of all frames. parts: of the frames 0 to PART_FRAMES - 1, and so on. codes: u32 (T, K), the result.
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
        yield Step(None, self.quantize.bind("mimi.quantize", sums, norms, s["projected"], offsets, codes))

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


class Loader:
    """Uploads the tensors of a checkpoint and compiles their kernels."""

    def __init__(self, device: Device, library: MimiGpuKernels, config: MimiConfig, tensors: Tensors) -> None:
        self._device, self._library, self._config, self._tensors = device, library, config, tensors
        self._n_bytes = 0

    async def load(self, max_frames: int, n_slots: int) -> Model:
        """Upload everything. max_frames: of a call. Raises BadModel or GpuFault."""
        config, library, sizes = self._config, self._library, self._config.transformer
        hidden = self._tensors.n_rows("encoder_transformer.transformer.layers.0.linear1.weight")
        _check_sizes(config, hidden)
        n_rows = FRAME_SAMPLES
        n_next = config.residual_kernel_size - 1
        first = await library.first(config.n_filters, config.kernel_size, n_rows, n_next)
        name = "encoder.model.0.conv.conv"
        weight = self._tensors.dense(f"{name}.weight", config.n_filters, 1, config.kernel_size)
        bias = self._tensors.dense(f"{name}.bias", config.n_filters)
        first_weights = self._upload("mimi.first", weight[:, 0].T), self._upload("mimi.first.bias", bias)
        stages, n_floats = [], {"a": 0, "b": 0}  # of a frame
        channels, n, place = config.n_filters, 1, ("a", "b")
        for i, ratio in enumerate(config.ratios):
            inner, block = channels // config.compress, f"encoder.model.{n}.block"
            is_last = i == len(config.ratios) - 1
            n_next = (config.last_kernel_size if is_last else config.residual_kernel_size) - 1
            wide = self._conv(f"{block}.1.conv.conv", inner, channels, config.residual_kernel_size, n_rows)
            narrow = self._conv(f"{block}.3.conv.conv", channels, inner, 1, n_rows)
            down = self._conv(f"encoder.model.{n + 2}.conv.conv", 2 * channels, channels, 2 * ratio, n_rows, ratio)
            stages.append(
                Stage(
                    wide=await self._matrix(wide, applies_elu=True, activation=Activation.ELU),
                    narrow=await self._matrix(
                        narrow, input="plain", output="history", n_next=ratio, adds_out=True, activation=Activation.ELU
                    ),
                    down=await self._matrix(down, output="history", n_next=n_next),
                )
            )
            from_, to = place
            n_floats[from_] = max(n_floats[from_], n_rows * channels)
            n_floats[to] = max(n_floats[to], n_rows * inner, n_rows // ratio * 2 * channels)
            channels, n, n_rows, place = 2 * channels, n + 3, n_rows // ratio, (to, from_)
        last = self._conv(f"encoder.model.{n + 1}.conv.conv", sizes.d, channels, config.last_kernel_size, n_rows)
        last_matrix = await self._matrix(last, applies_elu=True)
        layers = tuple([await self._layer(i, hidden, n_rows) for i in range(sizes.n_layers)])
        downsample = self._conv(
            "downsample.conv.conv.conv", sizes.d, sizes.d, DOWNSAMPLE_SIZE, n_rows, DOWNSAMPLE_STRIDE, bias=False
        )
        n_floats |= dict.fromkeys(("x", "query", "attended"), n_rows * sizes.d)
        n_floats |= {"hidden": n_rows * hidden, "latent": sizes.d, "projected": 2 * config.quantizer_width}
        usage = Usage.STORAGE | Usage.COPY_SRC
        scratch = {
            name: Buffer.new(
                self._device, f"mimi.{name}", WORD_BYTES * (PART_FRAMES if name in "ab" else max_frames) * n, usage
            )
            for name, n in n_floats.items()
        }
        codebook_format, codebooks = self._codebooks()
        return Model(
            device=self._device,
            config=config,
            n_slots=n_slots,
            first=first,
            first_weights=first_weights,
            stages=tuple(stages),
            last=last_matrix,
            layers=layers,
            attention=await library.attention(n_rows),
            downsample=await self._matrix(downsample, replicates=True),
            project=await self._matrix(self._projection()),
            quantize=await library.quantize(codebook_format, config.n_codebooks),
            codebook_format=codebook_format,
            codebooks=codebooks,
            scratch=scratch,
            n_bytes=self._n_bytes,
        )

    async def _layer(self, i: int, hidden: int, n_rows: int) -> Layer:
        await self._device.wait_until_done()  # pending uploads take memory of the page
        d, is_last = self._config.transformer.d, i == self._config.transformer.n_layers - 1
        layer, label = f"encoder_transformer.transformer.layers.{i}", f"mimi.layer{i}"
        attention = f"{layer}.self_attn"

        def stored(name: str, n: int, k: int, alias: str = "") -> Callable[[], NDArray[Any]]:
            return lambda: self._tensors.stored(name, n, k, alias=alias)

        in_proj = _Source(
            f"{label}.in_proj",
            3 * d,
            d,
            n_rows,
            stored(f"{attention}.in_proj_weight", 3 * d, d, f"{attention}.in_projs.0.weight"),
            None,
        )
        out_proj = _Source(
            f"{label}.out_proj",
            d,
            d,
            n_rows,
            stored(f"{attention}.out_proj.weight", d, d, f"{attention}.out_projs.0.weight"),
            f"{layer}.layer_scale_1.scale",
        )
        linear1 = _Source(f"{label}.linear1", hidden, d, n_rows, stored(f"{layer}.linear1.weight", hidden, d), None)
        linear2 = _Source(
            f"{label}.linear2",
            d,
            hidden,
            n_rows,
            stored(f"{layer}.linear2.weight", d, hidden),
            f"{layer}.layer_scale_2.scale",
        )
        following = {"output": "history", "n_next": DOWNSAMPLE_SIZE - DOWNSAMPLE_STRIDE} if is_last else {}
        return Layer(
            norm1=self._norm(f"{layer}.norm1", d),
            in_proj=await self._matrix(in_proj, input="norm", output="qkv"),
            out_proj=await self._matrix(out_proj, scales=True, adds_out=True),
            norm2=self._norm(f"{layer}.norm2", d),
            linear1=await self._matrix(linear1, input="norm", activation=Activation.GELU),
            linear2=await self._matrix(linear2, scales=True, adds_out=True, **following),
        )

    def _norm(self, name: str, d: int) -> Buffer:
        parts = [self._tensors.dense(f"{name}.{part}", d) for part in ("weight", "bias")]
        return self._upload(f"mimi.{name}", np.concatenate(parts))

    def _conv(
        self, name: str, c_out: int, c_in: int, size: int, n_rows: int, stride: int = 1, *, bias: bool = True
    ) -> _Source:
        """A convolution as a matrix (c_out, size * c_in): taps in time order, the channels of each tap adjacent."""

        def read() -> NDArray[Any]:
            weight = self._tensors.stored(f"{name}.weight", c_out, c_in, size)
            return weight.transpose(0, 2, 1).reshape(c_out, size * c_in)

        vector = f"{name}.bias" if bias else None
        convolved = {"input": "history", "channels": c_in, "stride": stride}
        return _Source(f"mimi.{name}", c_out, size * c_in, n_rows // stride, read, vector, convolved)

    def _projection(self) -> _Source:
        """The input projections of the semantic and the acoustic codebooks, stacked."""
        width, d = self._config.quantizer_width, self._config.transformer.d
        names = [f"quantizer.{half}.input_proj.weight" for half in ("rvq_first", "rvq_rest")]

        def read() -> NDArray[Any]:
            return np.concatenate([self._tensors.stored(name, width, d, 1).reshape(width, d) for name in names])

        return _Source("mimi.project", 2 * width, d, 1, read, None)

    async def _matrix(self, source: _Source, **options: Any) -> Matrix:
        """Upload a matrix in its stored format, and compile its kernels."""
        matrix, weight_format = _in_format(source.read())
        fields = {**(source.convolved or {}), **options}
        if fields.get("input") == "plain":
            fields |= {"channels": 0, "stride": 1}
        product = Product(source.label, weight_format, source.n, source.k, source.n_rows, **fields)
        vector = None
        if product.output != "qkv":
            zeros = np.zeros(source.n, np.float32)
            values = self._tensors.dense(source.vector, source.n) if source.vector else zeros
            vector = self._upload(f"{source.label}.vector", values)
        return Matrix(
            product=product,
            in_rows=await self._library.product(product, in_tiles=False),
            in_tiles=await self._library.product(product, in_tiles=True),
            weights=self._upload(source.label, matrix),
            vector=vector,
        )

    def _codebooks(self) -> tuple[WeightFormat, tuple[Buffer, Buffer, Buffer]]:
        """The sums of each centroid, transposed, then (usage, |centroid|^2 / 2), then where codes are written."""
        config = self._config
        n_bins, width, n = config.n_bins, config.quantizer_width, config.n_codebooks
        names = [
            f"quantizer.{half}.vq.layers.{level}._codebook"
            for half, n_levels in (("rvq_first", 1), ("rvq_rest", n - 1))
            for level in range(n_levels)
        ]
        stored = self._tensors.stored(f"{names[0]}.embedding_sum", n_bins, width)
        _, weight_format = _in_format(stored)
        if weight_format == "i8":
            weight_format = "f16"
        dtype = np.float16 if weight_format == "f16" else np.float32
        norms = np.empty((n, n_bins, 2), np.float32)

        def transposed() -> Iterator[NDArray[Any]]:
            for codebook, name in enumerate(names):
                sums = self._tensors.dense(f"{name}.embedding_sum", n_bins, width)
                usage = np.maximum(self._tensors.dense(f"{name}.cluster_usage", n_bins), MIN_USAGE)
                norms[codebook, :, 0] = usage
                norms[codebook, :, 1] = np.float32(0.5) * np.square(sums / usage[:, None]).sum(axis=-1)
                yield sums.astype(dtype).reshape(n_bins, width // VEC4, VEC4).swapaxes(0, 1)

        n_bytes = n * n_bins * width * np.dtype(dtype).itemsize
        self._n_bytes += n_bytes
        sums = upload_stream(self._device, "mimi.codebooks", transposed(), n_bytes)
        offsets = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.uint32)
        return weight_format, (sums, self._upload("mimi.norms", norms), self._upload("mimi.offsets", offsets))

    def _upload(self, label: str, array: NDArray[Any]) -> Buffer:
        self._n_bytes += array.nbytes
        return upload(self._device, label, [array])


class _Source(NamedTuple):
    """A matrix to be read when it is uploaded."""

    label: str
    n: int
    k: int
    n_rows: int  # of the result, per frame
    read: Callable[[], NDArray[Any]]
    vector: str | None  # the name of its bias or scale
    convolved: dict[str, Any] | None = None  # the fields of `Product` for a convolution


def _in_format(matrix: NDArray[Any]) -> tuple[NDArray[Any], WeightFormat]:
    """The matrix in the format that it is uploaded in."""
    weight_format = _FORMATS.get(matrix.dtype.name, "f32")
    return (matrix.astype(np.float32) if weight_format == "f32" else matrix), weight_format


def _check_sizes(config: MimiConfig, hidden: int) -> None:
    """Raises GpuFault for a model that the kernels cannot encode. No published model is one."""
    sizes = config.transformer
    widths = [config.n_filters // config.compress, sizes.head_width, config.quantizer_width, hidden]
    rows = FRAME_SAMPLES // prod(config.ratios)
    n_history = max(config.last_kernel_size - 1, DOWNSAMPLE_SIZE - DOWNSAMPLE_STRIDE)
    if any(width % VEC4 for width in widths) or n_history > rows or config.n_filters % config.compress:
        raise GpuFault("the Mimi encoder", "its kernels need sizes that are multiples of 4")


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
    n_invocations = max(tile.n_invocations, kernels.MAX_LANES, tuning.n_row_invocations, attention, tuning.quantize)
    shared_floats = max(
        VEC4 * VEC4 * VEC4 * tile.n_splits * (tile.n_x + tile.n_y),
        VEC4 * VEC4 * max(kernels.MAX_LANES, tuning.n_row_invocations),
        sizes.context + VEC4 * attention,
        config.quantizer_width + 2 * tuning.quantize,
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
            -(-n_rows * config.n_filters // VEC4 // tuning.attention), tile.n_workgroups(n_rows, config.n_filters)
        ),
    }
