"""The transformer on the device: its weights, the vectors between its kernels, and the order of the kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import LMConfig
from tympan.gpu.buffers import WORD_BYTES, Buffer, Usage, align, upload, upload_stream
from tympan.gpu.device import Device
from tympan.gpu.kernel import Dispatch, Kernel
from tympan.lm.webgpu import kernels
from tympan.lm.webgpu.kernels import F32_BYTES, QUAD, KVFormat, Tuning, WebGPUKernels, padded
from tympan.lm.weights import LMWeights
from tympan.weights.blocks import BlockMatrix
from tympan.weights.matrix import Matrix, MatrixFormat

PAIR_BYTES = {"f16": 4, "f32": 8}  # of two neighbours in a ring


@dataclass(frozen=True)
class DeviceMatrix:
    """A matrix of any format, or several of one format stacked. `buffers` are the bindings 0 and 1."""

    format: MatrixFormat
    k: int
    buffers: tuple[Buffer, Buffer | None]

    @classmethod
    def upload(cls, device: Device, label: str, *matrices: Matrix) -> DeviceMatrix:
        """Raises GpuFault. A stored matrix is read when its turn comes."""
        if in_blocks := _in_blocks(matrices):
            block_format, (n_block_bytes, n_scale_bytes) = in_blocks[0].format, _block_bytes(in_blocks)
            blocks = upload_stream(device, f"{label}.{block_format}", (m.blocks for m in in_blocks), n_block_bytes)
            scales = upload_stream(device, f"{label}.scale", (m.scale for m in in_blocks), n_scale_bytes)
            return cls(block_format, matrices[0].shape[1], (blocks, scales))
        return cls("f32", matrices[0].shape[1], (upload(device, label, _dense(matrices)), None))


@dataclass(frozen=True)
class Tables:
    """The embedding tables of one format, one after another."""

    label: str
    kernel: Kernel
    matrix: DeviceMatrix
    codebooks: Int32  # whose tables these are
    first_rows: Int32  # where the table of each of them begins

    @classmethod
    async def load(
        cls, device: Device, library: WebGPUKernels, config: LMConfig, weights: LMWeights
    ) -> tuple[Tables, ...]:
        """One for each group of the weights."""
        groups: list[Tables] = []
        for group in weights.table_groups:
            label, n_codebooks = f"lm.embeddings_{group.format}", len(group.codebooks)
            matrix = DeviceMatrix.upload(device, label, *group.tables)
            first_rows = np.arange(n_codebooks, dtype=np.int32) * (config.card + 1)
            text_row = n_codebooks * (config.card + 1) if group.has_text else -1
            kernel = await library.embed(matrix.format, n_codebooks, text_row, accumulate=bool(groups))
            groups.append(cls(label, kernel, matrix, np.array(group.codebooks, np.int32), first_rows))
        return tuple(groups)

    def rows(self, codes: Int32) -> Int32:
        """The rows that the codes (K,) of a frame choose: int32 (n_codebooks of this group,)."""
        return self.first_rows + codes[self.codebooks]


@dataclass(frozen=True)
class Layer:
    """One layer: a kernel for each matrix, and the scales of the norms."""

    label: str
    norm1: Buffer
    in_proj: DeviceMatrix
    out_proj: DeviceMatrix
    norm2: Buffer
    linear_in: DeviceMatrix
    linear_out: DeviceMatrix
    qkv: Kernel
    project: Kernel
    gate_up: Kernel
    down: Kernel

    @classmethod
    async def load(cls, device: Device, library: WebGPUKernels, weights: LMWeights, i: int) -> Layer:
        await device.settle()  # what is mapped and not yet taken over by the GPU is memory of the page
        label, layer = f"lm.layer{i}", weights.layers[i]
        in_proj = DeviceMatrix.upload(device, f"{label}.in_proj", layer.in_proj)
        out_proj = DeviceMatrix.upload(device, f"{label}.out_proj", layer.out_proj)
        linear_in = DeviceMatrix.upload(device, f"{label}.linear_in", layer.linear_in)
        linear_out = DeviceMatrix.upload(device, f"{label}.linear_out", layer.linear_out)
        return cls(
            label=label,
            norm1=_upload_norm(device, f"{label}.norm1", layer.norm1),
            in_proj=in_proj,
            out_proj=out_proj,
            norm2=_upload_norm(device, f"{label}.norm2", layer.norm2),
            linear_in=linear_in,
            linear_out=linear_out,
            qkv=await library.qkv(in_proj.format),
            project=await library.out_proj(out_proj.format),
            gate_up=await library.gate_up(linear_in.format, weights.hidden),
            down=await library.down(linear_out.format, weights.hidden),
        )


@dataclass(frozen=True)
class Vectors:
    """What the kernels hand to each other; those that a matrix is multiplied by lie as vector.wgsl says."""

    x: Buffer  # (d,) the residual stream
    scaled: Buffer  # (d,) x times the scales of the norm that comes next
    squares: Buffer  # (d / 4,) the sums of squares of x
    query: Buffer  # (d,)
    splits: Buffer  # (n_splits, d) the parts of the attention, then (n_splits, H, 2)
    hidden: Buffer  # (h,)
    logits: Buffer  # (V,)
    head_logits: Buffer  # (n_extra_heads * width,)

    @classmethod
    def new(cls, device: Device, config: LMConfig, h: int, n_splits: int) -> Vectors:
        d, n_heads = config.transformer.d, config.transformer.n_heads
        sizes = {
            "x": d,
            "scaled": padded(d),
            "squares": -(-d // QUAD),
            "query": d,
            "splits": n_splits * (d + 2 * n_heads),
            "hidden": padded(h),
            "logits": config.text_card,
            "head_logits": config.n_extra_heads * config.extra_head_width,
        }
        n_bytes = {name: max(1, F32_BYTES * align(n, QUAD)) for name, n in sizes.items()}
        usage = Usage.STORAGE | Usage.COPY_SRC
        return cls(**{name: Buffer.new(device, f"lm.{name}", n, usage) for name, n in n_bytes.items()})


@dataclass(frozen=True)
class KVCache:
    """The keys (H, D / 2, S) and the values (H, S, D / 2) of one layer, in pairs of neighbours, as ring.wgsl says."""

    keys: Buffer
    values: Buffer

    @classmethod
    def new(cls, device: Device, config: LMConfig, label: str, ring: KVFormat) -> KVCache:
        (keys_bytes, values_bytes), usage = _ring_bytes(config, ring), Usage.STORAGE | Usage.COPY_SRC
        keys = Buffer.new(device, f"{label}.keys", keys_bytes, usage)
        return cls(keys, Buffer.new(device, f"{label}.values", values_bytes, usage))


@dataclass(frozen=True)
class Model:
    """All weights and kernels. Read only: what changes from step to step is passed to `forward`."""

    tables: tuple[Tables, ...]
    layers: tuple[Layer, ...]
    out_norm: Buffer
    text_linear: DeviceMatrix
    extra_heads: DeviceMatrix | None
    attention: Kernel
    text_head: Kernel
    extra_head: Kernel | None
    argmax: Kernel
    vectors: Vectors

    @classmethod
    async def load(cls, device: Device, library: WebGPUKernels, config: LMConfig, weights: LMWeights) -> Model:
        """Upload the weights and compile the kernels. Raises GpuFault."""
        tables = await Tables.load(device, library, config, weights)
        layers = tuple([await Layer.load(device, library, weights, i) for i in range(len(weights.layers))])
        text_linear = DeviceMatrix.upload(device, "lm.text_linear", weights.text_linear)
        heads = DeviceMatrix.upload(device, "lm.extra_heads", *weights.extra_heads) if weights.extra_heads else None
        n_head_rows = config.n_extra_heads * config.extra_head_width
        return cls(
            tables=tables,
            layers=layers,
            out_norm=_upload_norm(device, "lm.out_norm", weights.out_norm),
            text_linear=text_linear,
            extra_heads=heads,
            attention=await library.attention(),
            text_head=await library.head(text_linear.format, config.text_card),
            extra_head=await library.head(heads.format, n_head_rows) if heads else None,
            argmax=await library.argmax(config.text_card),
            vectors=Vectors.new(device, config, weights.hidden, library.n_splits),
        )

    def forward(self, inputs: Mapping[str, Buffer], token: Buffer, rings: Sequence[KVCache]) -> Iterator[Dispatch]:
        """One step, kernel by kernel.

        inputs: `step` and, for each group of tables, its label -> rows. token: u32 (1,), the text token of the step
        before, replaced by this step's. rings: one a layer.
        """
        v, step = self.vectors, inputs["step"]
        normed = v.scaled, v.squares

        def stream(alpha: Buffer) -> tuple[Buffer, ...]:
            """The residual stream, to be written for the norm with these scales."""
            return v.x, alpha, v.scaled, v.squares

        next_norms = [*(layer.norm1 for layer in self.layers[1:]), self.out_norm]
        for group in self.tables:
            rows, first_norm = inputs[group.label], self.layers[0].norm1
            yield group.kernel.on(group.label, *group.matrix.buffers, rows, token, *stream(first_norm))
        for layer, ring, next_norm in zip(self.layers, rings, next_norms, strict=True):
            label, kv = layer.label, (ring.keys, ring.values)
            yield layer.qkv.on(f"{label}.qkv", *layer.in_proj.buffers, *normed, step, v.query, *kv)
            yield self.attention.on(f"{label}.attention", step, v.query, *kv, v.splits)
            yield layer.project.on(f"{label}.out_proj", *layer.out_proj.buffers, step, v.splits, *stream(layer.norm2))
            yield layer.gate_up.on(f"{label}.gate_up", *layer.linear_in.buffers, *normed, v.hidden)
            yield layer.down.on(f"{label}.down", *layer.linear_out.buffers, v.hidden, None, *stream(next_norm))
        yield self.text_head.on("lm.text_linear", *self.text_linear.buffers, *normed, v.logits)
        if self.extra_heads is not None and self.extra_head is not None:
            yield self.extra_head.on("lm.extra_heads", *self.extra_heads.buffers, *normed, v.head_logits)
        yield self.argmax.on("lm.argmax", v.logits, token)


def needed_limits(config: LMConfig, weights: LMWeights, tuning: Tuning, ring: KVFormat) -> dict[str, int]:
    """The WebGPU limits, by name, that a device must reach to hold this model."""
    groups: list[Sequence[Matrix]] = [group.tables for group in weights.table_groups]
    groups += [[weights.text_linear]]
    for layer in weights.layers:
        groups += [[layer.in_proj], [layer.out_proj], [layer.linear_in], [layer.linear_out]]
    largest = align(max(*_ring_bytes(config, ring), *(_largest_buffer(group) for group in groups)), WORD_BYTES)
    return {
        "maxBufferSize": largest,
        "maxStorageBufferBindingSize": largest,
        "maxStorageBuffersPerShaderStage": kernels.MOST_BINDINGS,
        **kernels.needed_limits(tuning, config.transformer, weights.hidden, config.text_card),
    }


def _largest_buffer(matrices: Sequence[Matrix]) -> int:
    """How long the longest buffer of matrices of one format is; none of them is read for it."""
    in_blocks = _in_blocks(matrices)
    return max(_block_bytes(in_blocks)) if in_blocks else sum(matrix.nbytes for matrix in _dense(matrices))


def _in_blocks(matrices: Sequence[Matrix]) -> list[BlockMatrix]:
    return [matrix for matrix in matrices if isinstance(matrix, BlockMatrix)]


def _block_bytes(matrices: Sequence[BlockMatrix]) -> tuple[int, int]:
    """How long the buffers of their blocks and of their scales are."""
    sizes = [matrix.n_bytes for matrix in matrices]
    return sum(blocks for blocks, _ in sizes), sum(scales for _, scales in sizes)


def _dense(matrices: Sequence[Matrix]) -> list[NDArray[Any]]:
    return [matrix for matrix in matrices if not isinstance(matrix, BlockMatrix)]


def _upload_norm(device: Device, label: str, alpha: Float32) -> Buffer:
    return upload(device, label, [np.pad(alpha, (0, -alpha.size % QUAD))])


def _ring_bytes(config: LMConfig, ring: KVFormat) -> tuple[int, int]:
    """Of the keys and of the values of a layer."""
    sizes, pair_bytes = config.transformer, PAIR_BYTES[ring]
    n_pairs = sizes.head_width // 2
    keys = sizes.n_heads * n_pairs * align(sizes.context, QUAD)
    return pair_bytes * keys, pair_bytes * sizes.n_heads * sizes.context * align(n_pairs, QUAD)
