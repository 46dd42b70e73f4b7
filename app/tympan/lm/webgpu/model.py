"""The transformer on the GPU: weights, intermediate vectors, and the sequence of kernels of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.codes import CodeLayout
from tympan.config import LMConfig
from tympan.gpu.buffers import BINDING_ALIGNMENT_BYTES, WORD_BYTES, Buffer, Usage, align, upload, upload_stream
from tympan.gpu.device import Device
from tympan.gpu.kernel import Dispatch, Kernel
from tympan.lm.webgpu import kernels
from tympan.lm.webgpu.kernels import F32_BYTES, VEC4, KVFormat, Tuning, WebGPUKernels, padded_to_blocks
from tympan.lm.weights import LMWeights
from tympan.weights.blocks import BlockMatrix
from tympan.weights.matrix import Matrix, MatrixFormat

PAIR_BYTES = {"f16": 4, "f32": 8}  # two adjacent elements of a key or value


@dataclass(frozen=True)
class DeviceMatrix:
    """A matrix of any format, or several of the same format, stacked. `buffers` are bindings 0 and 1."""

    format: MatrixFormat
    k: int
    buffers: tuple[Buffer, Buffer | None]

    @classmethod
    def upload(cls, device: Device, label: str, *matrices: Matrix) -> DeviceMatrix:
        """Upload matrices. A stored matrix is read only when it is uploaded. Raises GpuFault."""
        if in_blocks := _in_blocks(matrices):
            block_format, (n_block_bytes, n_scale_bytes) = in_blocks[0].format, _block_bytes(in_blocks)
            blocks = upload_stream(device, f"{label}.{block_format}", (m.blocks for m in in_blocks), n_block_bytes)
            scales = upload_stream(device, f"{label}.scale", (m.scale for m in in_blocks), n_scale_bytes)
            return cls(block_format, matrices[0].shape[1], (blocks, scales))
        return cls("f32", matrices[0].shape[1], (upload(device, label, _dense(matrices)), None))


@dataclass(frozen=True)
class Tables:
    """The embedding tables of one format, stacked."""

    label: str
    kernel: Kernel
    matrix: DeviceMatrix
    codebooks: Int32  # whose tables these are
    first_rows: Int32  # of the table of each codebook, in the stack
    columns: range  # of the rows that a step reads, among those of all groups; can be bound alone

    @classmethod
    async def load(cls, device: Device, kernel_library: WebGPUKernels, weights: LMWeights) -> tuple[Tables, ...]:
        """Upload the tables, one `Tables` per format."""
        groups: list[Tables] = []
        first_column = 0
        for group in weights.table_groups:
            label, n_codebooks = f"lm.embeddings_{group.format}", len(group.codebooks)
            matrix = DeviceMatrix.upload(device, label, *group.tables)
            kernel = await kernel_library.embed(matrix.format, n_codebooks, group.text_row, accumulate=bool(groups))
            columns = range(first_column, first_column + max(n_codebooks, 1))
            groups.append(cls(label, kernel, matrix, np.array(group.codebooks, np.int32), group.first_rows, columns))
            first_column = align(columns.stop, BINDING_ALIGNMENT_BYTES // WORD_BYTES)
        return tuple(groups)


@dataclass(frozen=True)
class Layer:
    """One layer: its matrices with their kernels, and the scales of its norms."""

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
    async def load(cls, device: Device, kernel_library: WebGPUKernels, weights: LMWeights, i: int) -> Layer:
        """Upload layer i. Raises GpuFault."""
        await device.wait_until_done()  # pending uploads take memory of the page
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
            qkv=await kernel_library.qkv(in_proj.format),
            project=await kernel_library.out_proj(out_proj.format),
            gate_up=await kernel_library.gate_up(linear_in.format, weights.hidden),
            down=await kernel_library.down(linear_out.format, weights.hidden),
        )


@dataclass(frozen=True)
class Vectors:
    """Buffers that one kernel writes and the next reads. Inputs of a matvec have the layout of interleaved.wgsl."""

    x: Buffer  # (d,) the residual stream
    scaled: Buffer  # (d,) x times the scales of the next norm
    squares: Buffer  # (d / 4,) sums of squares of the vec4 groups of x
    query: Buffer  # (d,)
    splits: Buffer  # (n_splits, d) output of the attention, then (n_splits, H, 2) highest scores and sums
    hidden: Buffer  # (h,)
    logits: Buffer  # (V,)

    @classmethod
    def new(cls, device: Device, config: LMConfig, h: int, n_splits: int) -> Vectors:
        d, n_heads = config.transformer.d, config.transformer.n_heads
        sizes = {
            "x": d,
            "scaled": padded_to_blocks(d),
            "squares": -(-d // VEC4),
            "query": d,
            "splits": n_splits * (d + 2 * n_heads),
            "hidden": padded_to_blocks(h),
            "logits": config.text_card,
        }
        n_bytes = {name: max(1, F32_BYTES * align(n, VEC4)) for name, n in sizes.items()}
        usage = Usage.STORAGE | Usage.COPY_SRC
        return cls(**{name: Buffer.new(device, f"lm.{name}", n, usage) for name, n in n_bytes.items()})


@dataclass(frozen=True)
class KVCache:
    """Keys (H, D / 2, S) and values (H, S, D / 2) of one layer, in pairs of adjacent elements; see kv_cache.wgsl."""

    keys: Buffer
    values: Buffer

    @classmethod
    def new(cls, device: Device, config: LMConfig, label: str, kv_format: KVFormat) -> KVCache:
        (keys_bytes, values_bytes), usage = _kv_cache_bytes(config, kv_format), Usage.STORAGE | Usage.COPY_SRC
        keys = Buffer.new(device, f"{label}.keys", keys_bytes, usage)
        return cls(keys, Buffer.new(device, f"{label}.values", values_bytes, usage))


@dataclass(frozen=True)
class StepResult:
    """Where the result of one step is kept until it is read: two ranges of a buffer."""

    decoded: Buffer  # (1,) of `decoding.DECODED`
    head_logits: Buffer  # (n_extra_heads * width,)


@dataclass(frozen=True)
class Model:
    """All weights and kernels. Read only: inputs and state are passed to `forward`."""

    tables: tuple[Tables, ...]
    layers: tuple[Layer, ...]
    out_norm: Buffer
    text_linear: DeviceMatrix
    extra_heads: DeviceMatrix | None
    attention: Kernel
    text_head: Kernel
    extra_head: Kernel | None
    decode: Kernel
    vectors: Vectors

    @classmethod
    async def load(cls, device: Device, kernel_library: WebGPUKernels, config: LMConfig, weights: LMWeights) -> Model:
        """Upload the weights and compile the kernels. Raises GpuFault."""
        tables = await Tables.load(device, kernel_library, weights)
        layers = tuple([await Layer.load(device, kernel_library, weights, i) for i in range(len(weights.layers))])
        text_linear = DeviceMatrix.upload(device, "lm.text_linear", weights.text_linear)
        heads = DeviceMatrix.upload(device, "lm.extra_heads", *weights.extra_heads) if weights.extra_heads else None
        n_head_rows = config.n_extra_heads * config.extra_head_width
        return cls(
            tables=tables,
            layers=layers,
            out_norm=_upload_norm(device, "lm.out_norm", weights.out_norm),
            text_linear=text_linear,
            extra_heads=heads,
            attention=await kernel_library.attention(),
            text_head=await kernel_library.head(text_linear.format, config.text_card),
            extra_head=await kernel_library.head(heads.format, n_head_rows) if heads else None,
            decode=await kernel_library.decode(config.text_card),
            vectors=Vectors.new(device, config, weights.hidden, kernel_library.n_splits),
        )

    def code_layout(self, config: LMConfig) -> CodeLayout:
        """Return the layout of the rows of all tables that a step reads."""
        columns, offsets = np.zeros((2, config.n_codebooks), np.int32)
        for group in self.tables:
            columns[group.codebooks] = group.columns.start + np.arange(len(group.codebooks))
            offsets[group.codebooks] = group.first_rows
        n_words = align(self.tables[-1].columns.stop, BINDING_ALIGNMENT_BYTES // WORD_BYTES)
        return CodeLayout(n_words, columns, offsets)

    def forward(
        self,
        inputs: Mapping[str, Buffer],
        decoded: Buffer,
        terms: Buffer,
        kv_caches: Sequence[KVCache],
        result: StepResult,
        shared: dict[str, Dispatch],
    ) -> Iterator[Dispatch]:
        """Return the dispatches of one step, in order.

        inputs: `step` and, by the label of each group of tables, its rows. decoded: (1,) of `decoding.DECODED`, that of
        the previous step, replaced by that of this step. terms: the nodes of a `TermTrie`. kv_caches: one per layer.
        result: where the result is kept.
        shared: those dispatches, by label, that do not depend on the inputs or the result; filled by the first call.
        """
        v, step = self.vectors, inputs["step"]
        normed = v.scaled, v.squares

        def once(kernel: Kernel, label: str, *buffers: Buffer | None) -> Dispatch:
            """Bind a kernel, or return the dispatch of an earlier call."""
            if label not in shared:
                shared[label] = kernel.bind(label, *buffers)
            return shared[label]

        def residual(alpha: Buffer) -> tuple[Buffer, ...]:
            """Return the bindings of residual.wgsl. alpha: the scales of the next norm."""
            return v.x, alpha, v.scaled, v.squares

        next_norms = [*(layer.norm1 for layer in self.layers[1:]), self.out_norm]
        for group in self.tables:
            rows, first_norm = inputs[group.label], self.layers[0].norm1
            yield group.kernel.bind(group.label, *group.matrix.buffers, rows, decoded, *residual(first_norm))
        for layer, kv_cache, next_norm in zip(self.layers, kv_caches, next_norms, strict=True):
            label, kv = layer.label, (kv_cache.keys, kv_cache.values)
            yield layer.qkv.bind(f"{label}.qkv", *layer.in_proj.buffers, *normed, step, v.query, *kv)
            yield self.attention.bind(f"{label}.attention", step, v.query, *kv, v.splits)
            yield layer.project.bind(
                f"{label}.out_proj", *layer.out_proj.buffers, step, v.splits, *residual(layer.norm2)
            )
            yield once(layer.gate_up, f"{label}.gate_up", *layer.linear_in.buffers, *normed, v.hidden)
            yield once(layer.down, f"{label}.down", *layer.linear_out.buffers, v.hidden, None, *residual(next_norm))
        yield once(self.text_head, "lm.text_linear", *self.text_linear.buffers, *normed, v.logits)
        if self.extra_heads is not None and self.extra_head is not None:
            yield self.extra_head.bind("lm.extra_heads", *self.extra_heads.buffers, *normed, result.head_logits)
        yield self.decode.bind("lm.decode", v.logits, decoded, terms, result.decoded)


def needed_limits(config: LMConfig, weights: LMWeights, tuning: Tuning, kv_format: KVFormat) -> dict[str, int]:
    """Return the WebGPU limits, by name, that a device needs for this model."""
    groups: list[Sequence[Matrix]] = [group.tables for group in weights.table_groups]
    groups += [[matrix] for matrix in weights.matrices()]
    largest = align(max(*_kv_cache_bytes(config, kv_format), *(_largest_buffer(group) for group in groups)), WORD_BYTES)
    return {
        "maxBufferSize": largest,
        "maxStorageBufferBindingSize": largest,
        "maxStorageBuffersPerShaderStage": kernels.MAX_BINDINGS,
        **kernels.needed_limits(tuning, config.transformer, weights.hidden, config.text_card),
    }


def _largest_buffer(matrices: Sequence[Matrix]) -> int:
    """Return the bytes of the largest buffer for matrices of one format, without reading any of them."""
    in_blocks = _in_blocks(matrices)
    return max(_block_bytes(in_blocks)) if in_blocks else sum(matrix.nbytes for matrix in _dense(matrices))


def _in_blocks(matrices: Sequence[Matrix]) -> list[BlockMatrix]:
    return [matrix for matrix in matrices if isinstance(matrix, BlockMatrix)]


def _block_bytes(matrices: Sequence[BlockMatrix]) -> tuple[int, int]:
    """Return the bytes of the buffers of their blocks and of their scales."""
    sizes = [matrix.n_bytes for matrix in matrices]
    return sum(blocks for blocks, _ in sizes), sum(scales for _, scales in sizes)


def _dense(matrices: Sequence[Matrix]) -> list[NDArray[Any]]:
    return [matrix for matrix in matrices if not isinstance(matrix, BlockMatrix)]


def _upload_norm(device: Device, label: str, alpha: Float32) -> Buffer:
    return upload(device, label, [np.pad(alpha, (0, -alpha.size % VEC4))])


def _kv_cache_bytes(config: LMConfig, kv_format: KVFormat) -> tuple[int, int]:
    """Return the bytes of the keys and of the values of a layer."""
    sizes, pair_bytes = config.transformer, PAIR_BYTES[kv_format]
    n_pairs = sizes.head_width // 2
    keys = sizes.n_heads * n_pairs * align(sizes.context, VEC4)
    return pair_bytes * keys, pair_bytes * sizes.n_heads * sizes.context * align(n_pairs, VEC4)
