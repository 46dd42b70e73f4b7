"""Loads the encoder on the GPU: uploads the tensors of a checkpoint and compiles the kernels for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tympan.codes import CodeLayout
from tympan.config import FRAME_SAMPLES, MimiConfig
from tympan.errors import GpuFault
from tympan.gpu.buffers import BINDING_ALIGNMENT_BYTES, WORD_BYTES, Buffer, Usage, upload, upload_stream
from tympan.gpu.device import Device
from tympan.mimi.encoder import DOWNSAMPLE_SIZE, DOWNSAMPLE_STRIDE, POSITIONS_PER_FRAME
from tympan.mimi.kernels import Activation
from tympan.mimi.quantizer import MIN_USAGE
from tympan.mimi.webgpu.kernels import MAX_SPLITS, VEC4, MimiGpuKernels, Product, WeightFormat
from tympan.mimi.webgpu.model import PART_FRAMES, Layer, Matrix, Model, Stage
from tympan.weights.tensors import Tensors

_FORMATS: dict[str, WeightFormat] = {"float16": "f16", "int8": "i8"}  # all other dtypes are converted to f32


class Loader:
    """Uploads the tensors of a checkpoint and compiles their kernels. `buffers` are those created so far."""

    def __init__(self, device: Device, library: MimiGpuKernels, config: MimiConfig, tensors: Tensors) -> None:
        self._device, self._library, self._config, self._tensors = device, library, config, tensors
        self._n_bytes = self._max_frames = 0
        self.buffers: list[Buffer] = []

    async def load(self, max_frames: int, n_slots: int, hidden: int, layout: CodeLayout) -> Model:
        """Upload everything. Raises BadModel or GpuFault.

        max_frames: of a call. n_slots: of a KV cache. hidden: rows of the transformer's `linear1`. layout: of codes.
        """
        _check_sizes(self._config, hidden)
        self._max_frames = max_frames
        config, library, d = self._config, self._library, self._config.transformer.d
        channels, n = config.n_filters << len(config.ratios), 1 + 3 * len(config.ratios)
        last = self._conv(f"encoder.model.{n + 1}.conv.conv", d, channels, config.last_kernel_size, POSITIONS_PER_FRAME)
        downsample = self._conv(
            "downsample.conv.conv.conv", d, d, DOWNSAMPLE_SIZE, POSITIONS_PER_FRAME, DOWNSAMPLE_STRIDE, bias=False
        )
        codebook_format, codebooks = self._codebooks(layout)
        return Model(
            device=self._device,
            config=config,
            n_slots=n_slots,
            first=await library.first(
                config.n_filters, config.kernel_size, FRAME_SAMPLES, config.residual_kernel_size - 1
            ),
            first_weights=self._first_weights(),
            stages=tuple([await self._stage(i) for i in range(len(config.ratios))]),
            last=await self._matrix(last, PART_FRAMES, applies_elu=True),
            layers=tuple([await self._layer(i, hidden) for i in range(config.transformer.n_layers)]),
            attention=await library.attention(POSITIONS_PER_FRAME),
            downsample=await self._matrix(downsample, replicates=True),
            project=await self._matrix(self._projection()),
            quantize=await library.quantize(codebook_format, layout.n_words, max_frames),
            codebook_format=codebook_format,
            codebooks=codebooks,
            layout=layout,
            levels=self._levels(),
            scratch=self._scratch(max_frames, hidden),
            buffers=tuple(self.buffers),
            n_bytes=self._n_bytes,
        )

    def _first_weights(self) -> tuple[Buffer, Buffer]:
        """Upload the first convolution: its matrix (kernel_size, n_filters), and its bias."""
        name, n = "encoder.model.0.conv.conv", self._config.n_filters
        weight = self._tensors.dense(f"{name}.weight", n, 1, self._config.kernel_size)
        bias = self._tensors.dense(f"{name}.bias", n)
        return self._upload("mimi.first", weight[:, 0].T), self._upload("mimi.first.bias", bias)

    async def _stage(self, i: int) -> Stage:
        """Upload stage i of SEANet. The official module list counts the ELUs too, so a stage takes three numbers."""
        config, n, n_rows = self._config, 1 + 3 * i, _stage_rows(self._config, i)
        channels, ratio, block = config.n_filters << i, config.ratios[i], f"encoder.model.{n}.block"
        inner = channels // config.compress
        is_last = i == len(config.ratios) - 1
        n_next = (config.last_kernel_size if is_last else config.residual_kernel_size) - 1
        wide = self._conv(f"{block}.1.conv.conv", inner, channels, config.residual_kernel_size, n_rows)
        narrow = self._conv(f"{block}.3.conv.conv", channels, inner, 1, n_rows)
        down = self._conv(f"encoder.model.{n + 2}.conv.conv", 2 * channels, channels, 2 * ratio, n_rows, ratio)
        return Stage(
            wide=await self._matrix(wide, PART_FRAMES, applies_elu=True, activation=Activation.ELU),
            narrow=await self._matrix(
                narrow,
                PART_FRAMES,
                input="plain",
                output="history",
                n_next=ratio,
                adds_out=True,
                activation=Activation.ELU,
            ),
            down=await self._matrix(down, PART_FRAMES, output="history", n_next=n_next),
        )

    def _scratch(self, max_frames: int, hidden: int) -> dict[str, Buffer]:
        """Create the buffers of the intermediate results. The stages of SEANet write to "a" and "b" in turn."""
        config, d = self._config, self._config.transformer.d
        n_floats = {"a": 0, "b": 0}  # of a frame
        for i, ratio in enumerate(config.ratios):
            n_rows, channels = _stage_rows(config, i), config.n_filters << i
            source, target = ("a", "b") if i % 2 == 0 else ("b", "a")
            n_floats[source] = max(n_floats[source], n_rows * channels)
            n_floats[target] = max(
                n_floats[target], n_rows * (channels // config.compress), n_rows // ratio * 2 * channels
            )
        n_floats |= dict.fromkeys(("x", "query", "attended"), POSITIONS_PER_FRAME * d)
        n_floats |= {"hidden": POSITIONS_PER_FRAME * hidden, "latent": d, "projected": 2 * config.quantizer_width}
        n_floats |= {"residuals": 2 * config.quantizer_width, "candidates": 2 * 2 * MAX_SPLITS}
        usage = Usage.STORAGE | Usage.COPY_SRC
        scratch = {
            name: Buffer.new(
                self._device, f"mimi.{name}", WORD_BYTES * (PART_FRAMES if name in "ab" else max_frames) * n, usage
            )
            for name, n in n_floats.items()
        }
        self.buffers += scratch.values()
        return scratch

    async def _layer(self, i: int, hidden: int) -> Layer:
        await self._device.wait_until_done()  # pending uploads take memory of the page
        d, is_last = self._config.transformer.d, i == self._config.transformer.n_layers - 1
        layer, label = f"encoder_transformer.transformer.layers.{i}", f"mimi.layer{i}"
        attention = f"{layer}.self_attn"

        def stored(name: str, n: int, k: int, alias: str = "") -> Callable[[], NDArray[Any]]:
            return lambda: self._tensors.stored(name, n, k, alias=alias)

        in_proj = _StoredMatrix(
            f"{label}.in_proj",
            3 * d,
            d,
            POSITIONS_PER_FRAME,
            stored(f"{attention}.in_proj_weight", 3 * d, d, f"{attention}.in_projs.0.weight"),
        )
        out_proj = _StoredMatrix(
            f"{label}.out_proj",
            d,
            d,
            POSITIONS_PER_FRAME,
            stored(f"{attention}.out_proj.weight", d, d, f"{attention}.out_projs.0.weight"),
            f"{layer}.layer_scale_1.scale",
        )
        linear1 = _StoredMatrix(
            f"{label}.linear1", hidden, d, POSITIONS_PER_FRAME, stored(f"{layer}.linear1.weight", hidden, d)
        )
        linear2 = _StoredMatrix(
            f"{label}.linear2",
            d,
            hidden,
            POSITIONS_PER_FRAME,
            stored(f"{layer}.linear2.weight", d, hidden),
            f"{layer}.layer_scale_2.scale",
        )
        following: dict[str, Any] = (
            {"output": "history", "n_next": DOWNSAMPLE_SIZE - DOWNSAMPLE_STRIDE} if is_last else {}
        )
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
    ) -> _StoredMatrix:
        """A convolution as a matrix (c_out, size * c_in): taps in time order, the channels of each tap adjacent."""

        def read() -> NDArray[Any]:
            weight = self._tensors.stored(f"{name}.weight", c_out, c_in, size)
            return weight.transpose(0, 2, 1).reshape(c_out, size * c_in)

        vector = f"{name}.bias" if bias else None
        convolved = {"input": "history", "channels": c_in, "stride": stride}
        return _StoredMatrix(f"mimi.{name}", c_out, size * c_in, n_rows // stride, read, vector, convolved)

    def _projection(self) -> _StoredMatrix:
        """The input projections of the semantic and the acoustic codebooks, stacked."""
        width, d = self._config.quantizer_width, self._config.transformer.d
        names = [f"quantizer.{half}.input_proj.weight" for half in ("rvq_first", "rvq_rest")]

        def read() -> NDArray[Any]:
            return np.concatenate([self._tensors.stored(name, width, d, 1).reshape(width, d) for name in names])

        return _StoredMatrix("mimi.project", 2 * width, d, 1, read)

    async def _matrix(self, source: _StoredMatrix, max_frames: int = 0, **options: Any) -> Matrix:
        """Upload a matrix in its stored format, and compile the kernels that calls of up to max_frames use.

        max_frames: by default those of a call.
        """
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
        smallest_in_tiles, largest_in_tiles = (
            product.uses_tiles(self._library.tuning, n) for n in (1, max_frames or self._max_frames)
        )
        return Matrix(
            product=product,
            in_rows=None if smallest_in_tiles else await self._library.product(product, in_tiles=False),
            in_tiles=await self._library.product(product, in_tiles=True) if largest_in_tiles else None,
            weights=self._upload(source.label, matrix),
            vector=vector,
        )

    def _codebooks(self, layout: CodeLayout) -> tuple[WeightFormat, tuple[Buffer, Buffer, Buffer]]:
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
        self.buffers.append(sums)
        offsets = np.stack([layout.columns, layout.offsets], axis=1).astype(np.uint32)
        return weight_format, (sums, self._upload("mimi.norms", norms), self._upload("mimi.offsets", offsets))

    def _levels(self) -> Buffer:
        """The number of each level, each in a range that can be bound alone."""
        numbers = np.zeros((self._config.n_codebooks + 1, BINDING_ALIGNMENT_BYTES // WORD_BYTES), np.uint32)
        numbers[:, 0] = np.arange(len(numbers))
        return self._upload("mimi.levels", numbers)

    def _upload(self, label: str, array: NDArray[Any]) -> Buffer:
        self._n_bytes += array.nbytes
        self.buffers.append(upload(self._device, label, [array]))
        return self.buffers[-1]


class _StoredMatrix(NamedTuple):
    """A matrix to be read when it is uploaded."""

    label: str
    n: int
    k: int
    n_rows: int  # of the result, per frame
    read: Callable[[], NDArray[Any]]
    vector: str | None = None  # the name of its bias or scale
    convolved: dict[str, Any] | None = None  # the fields of `Product` for a convolution


def _stage_rows(config: MimiConfig, i: int) -> int:
    """Rows per frame at the input of stage i of SEANet."""
    return FRAME_SAMPLES // prod(config.ratios[:i])


def _in_format(matrix: NDArray[Any]) -> tuple[NDArray[Any], WeightFormat]:
    """The matrix in the format that it is uploaded in."""
    weight_format = _FORMATS.get(matrix.dtype.name, "f32")
    return (matrix.astype(np.float32) if weight_format == "f32" else matrix), weight_format


def _check_sizes(config: MimiConfig, hidden: int) -> None:
    """Raises GpuFault for a model that the kernels cannot encode. No published model is one."""
    sizes = config.transformer
    widths = [config.n_filters // config.compress, sizes.head_width, config.quantizer_width, hidden]
    n_history = max(config.last_kernel_size - 1, DOWNSAMPLE_SIZE - DOWNSAMPLE_STRIDE)
    if any(width % VEC4 for width in widths) or n_history > POSITIONS_PER_FRAME or config.n_filters % config.compress:
        raise GpuFault("the Mimi encoder", "its kernels need sizes that are multiples of 4")
