"""The transformer on the device: its weights, the vectors between its kernels, and the order of the kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32, Int32
from tympan.config import LMConfig
from tympan.gpu.buffers import Buffer, Usage, align, upload, upload_stream
from tympan.gpu.device import Device
from tympan.gpu.kernel import Compiler, Dispatch, Kernel
from tympan.lm import kernels
from tympan.lm.kernels import F32_BYTES
from tympan.lm.weights import LayerWeights, LMWeights
from tympan.weights.q4 import BLOCK, Q4Matrix
from tympan.weights.tensors import Matrix


@dataclass(frozen=True)
class Linear:
    """A matrix of either format, with the kernel that multiplies by it."""

    label: str
    kernel: Kernel
    weights: tuple[Buffer, ...]

    @classmethod
    async def load(cls, compiler: Compiler, label: str, matrix: Matrix, *, accumulate: bool = False) -> Linear:
        n, k = matrix.shape
        lanes = kernels.Lanes.best_on(compiler.device.info)
        if isinstance(matrix, Q4Matrix):
            kernel = await kernels.matvec_q4(compiler, n, k, n_lanes=lanes.q4, accumulate=accumulate)
        else:
            kernel = await kernels.matvec_f32(compiler, n, k, n_lanes=lanes.f32, accumulate=accumulate)
        return cls(label, kernel, _upload(compiler.device, label, [matrix]))

    def on(self, x: Buffer, y: Buffer) -> Dispatch:
        return self.kernel.on(self.label, *self.weights, x, y)


@dataclass(frozen=True)
class Norm:
    """The scales of an RMS norm."""

    label: str
    kernel: Kernel
    alpha: Buffer

    @classmethod
    async def load(cls, compiler: Compiler, label: str, alpha: Float32) -> Norm:
        kernel = await kernels.rms_norm(compiler, alpha.size)
        return cls(label, kernel, upload(compiler.device, label, [alpha]))

    def on(self, x: Buffer, y: Buffer) -> Dispatch:
        return self.kernel.on(self.label, x, self.alpha, y)


@dataclass(frozen=True)
class Tables:
    """The embedding tables of one format, one after another in one buffer."""

    label: str
    kernel: Kernel
    weights: tuple[Buffer, ...]
    codebooks: Int32  # whose tables these are
    first_rows: Int32  # where the table of each of them begins

    @classmethod
    async def load(cls, compiler: Compiler, config: LMConfig, weights: LMWeights) -> tuple[Tables, ...]:
        """One group a format: most models have one, a model with a dense text table among Q4 tables has two."""
        groups: list[Tables] = []
        for q4, label in ((True, "lm.embeddings_q4"), (False, "lm.embeddings_f32")):
            codebooks, tables, has_text = _tables_of_format(weights, q4)
            if not tables:
                continue
            first_rows = np.arange(len(codebooks)) * (config.card + 1)
            kernel = await kernels.embed_sum(
                compiler,
                d=config.transformer.d,
                n_rows=len(codebooks),
                text_row=len(codebooks) * (config.card + 1) if has_text else -1,
                q4=q4,
                accumulate=bool(groups),
            )
            buffers = _upload(compiler.device, label, tables)
            groups.append(cls(label, kernel, buffers, np.array(codebooks, np.int32), first_rows.astype(np.int32)))
        return tuple(groups)

    def on(self, rows: Buffer, token: Buffer, x: Buffer) -> Dispatch:
        return self.kernel.on(self.label, *self.weights, rows, token, x)

    def rows(self, codes: Int32) -> Int32:
        """The rows that the codes (K,) of a frame choose: int32 (n_codebooks of this group,)."""
        return self.first_rows + codes[self.codebooks]


@dataclass(frozen=True)
class Layer:
    """One layer. out_proj and linear_out add to the residual stream themselves."""

    label: str
    norm1: Norm
    in_proj: Linear
    out_proj: Linear
    norm2: Norm
    linear_in: Linear
    linear_out: Linear

    @classmethod
    async def load(cls, compiler: Compiler, label: str, weights: LayerWeights) -> Layer:
        await compiler.device.settle()  # what is mapped and not yet taken over by the GPU is memory of the page
        return cls(
            label=label,
            norm1=await Norm.load(compiler, f"{label}.norm1", weights.norm1),
            in_proj=await Linear.load(compiler, f"{label}.in_proj", weights.in_proj),
            out_proj=await Linear.load(compiler, f"{label}.out_proj", weights.out_proj, accumulate=True),
            norm2=await Norm.load(compiler, f"{label}.norm2", weights.norm2),
            linear_in=await Linear.load(compiler, f"{label}.linear_in", weights.linear_in),
            linear_out=await Linear.load(compiler, f"{label}.linear_out", weights.linear_out, accumulate=True),
        )


@dataclass(frozen=True)
class Vectors:
    """What the kernels hand to each other. Zeros pad each to whole Q4 blocks, and no kernel writes there."""

    x: Buffer  # (d,) the residual stream
    normed: Buffer  # (d,)
    qkv: Buffer  # (3d,)
    attended: Buffer  # (d,)
    inner: Buffer  # (2h,) gate, then value
    hidden: Buffer  # (h,)
    logits: Buffer  # (V,)
    head_logits: Buffer  # (n_extra_heads * width,)

    @classmethod
    def new(cls, device: Device, config: LMConfig, h: int) -> Vectors:
        def zeros(name: str, n: int, usage: Usage = Usage.STORAGE) -> Buffer:
            return Buffer.new(device, f"lm.{name}", F32_BYTES * max(BLOCK, align(n, BLOCK)), usage)

        d, readable = config.transformer.d, Usage.STORAGE | Usage.COPY_SRC
        return cls(
            x=zeros("x", d),
            normed=zeros("normed", d),
            qkv=zeros("qkv", 3 * d),
            attended=zeros("attended", d),
            inner=zeros("inner", 2 * h),
            hidden=zeros("hidden", h),
            logits=zeros("logits", config.text_card, readable),
            head_logits=zeros("head_logits", config.n_extra_heads * config.extra_head_width, readable),
        )


@dataclass(frozen=True)
class Ring:
    """The keys and values of the last `context` positions of one layer, each float32 (S, d)."""

    keys: Buffer
    values: Buffer

    @classmethod
    def new(cls, device: Device, config: LMConfig, label: str) -> Ring:
        n_bytes = _ring_bytes(config)
        return cls(Buffer.new(device, f"{label}.keys", n_bytes), Buffer.new(device, f"{label}.values", n_bytes))


@dataclass(frozen=True)
class Model:
    """All weights and kernels. Read only: what changes from step to step is passed to `forward`."""

    tables: tuple[Tables, ...]
    layers: tuple[Layer, ...]
    out_norm: Norm
    text_linear: Linear
    extra_heads: Linear | None
    rope_cache: Kernel
    attention: Kernel
    gated_silu: Kernel
    argmax: Kernel
    vectors: Vectors

    @classmethod
    async def load(cls, compiler: Compiler, config: LMConfig, weights: LMWeights) -> Model:
        """Upload the weights and compile the kernels. Raises GpuFault."""
        sizes = config.transformer
        heads = weights.extra_heads
        return cls(
            tables=await Tables.load(compiler, config, weights),
            layers=tuple([await Layer.load(compiler, f"lm.layer{i}", layer) for i, layer in enumerate(weights.layers)]),
            out_norm=await Norm.load(compiler, "lm.out_norm", weights.out_norm),
            text_linear=await Linear.load(compiler, "lm.text_linear", weights.text_linear),
            extra_heads=await Linear.load(compiler, "lm.extra_heads", np.concatenate(heads)) if heads else None,
            rope_cache=await kernels.rope_cache(compiler, sizes.d, sizes.head_width),
            attention=await kernels.attention(compiler, sizes.d, sizes.head_width, sizes.context),
            gated_silu=await kernels.gated_silu(compiler, weights.hidden),
            argmax=await kernels.argmax(compiler, config.text_card),
            vectors=Vectors.new(compiler.device, config, weights.hidden),
        )

    def forward(self, inputs: Mapping[str, Buffer], token: Buffer, rings: Sequence[Ring]) -> Iterator[Dispatch]:
        """One step, kernel by kernel.

        inputs: `place`, `rotations` and, for each group of tables, its label -> rows. token: u32 (1,), the text token
        of the step before, replaced by this step's. rings: one a layer.
        """
        v, place, rotations = self.vectors, inputs["place"], inputs["rotations"]
        for group in self.tables:
            yield group.on(inputs[group.label], token, v.x)
        for layer, ring in zip(self.layers, rings, strict=True):
            yield layer.norm1.on(v.x, v.normed)
            yield layer.in_proj.on(v.normed, v.qkv)
            yield self.rope_cache.on(f"{layer.label}.rope_cache", place, rotations, v.qkv, ring.keys, ring.values)
            yield self.attention.on(f"{layer.label}.attention", place, v.qkv, ring.keys, ring.values, v.attended)
            yield layer.out_proj.on(v.attended, v.x)
            yield layer.norm2.on(v.x, v.normed)
            yield layer.linear_in.on(v.normed, v.inner)
            yield self.gated_silu.on(f"{layer.label}.gated_silu", v.inner, v.hidden)
            yield layer.linear_out.on(v.hidden, v.x)
        yield self.out_norm.on(v.x, v.normed)
        yield self.text_linear.on(v.normed, v.logits)
        yield self.argmax.on("lm.argmax", v.logits, token)
        if self.extra_heads is not None:
            yield self.extra_heads.on(v.normed, v.head_logits)


def needed_limits(config: LMConfig, weights: LMWeights) -> dict[str, int]:
    """The WebGPU limits, by name, that a device must reach to hold this model."""
    groups: list[list[Matrix]] = [_tables_of_format(weights, q4)[1] for q4 in (True, False)]
    groups += [[weights.text_linear]]
    for layer in weights.layers:
        groups += [[layer.in_proj], [layer.out_proj], [layer.linear_in], [layer.linear_out]]
    sizes = [n_bytes for group in groups for n_bytes in _buffer_bytes(group)]
    largest = align(max(*sizes, _ring_bytes(config)), F32_BYTES)
    return {
        "maxBufferSize": largest,
        "maxStorageBufferBindingSize": largest,
        "maxComputeWorkgroupStorageSize": kernels.attention_workgroup_bytes(config.transformer.context),
    }


def _tables_of_format(weights: LMWeights, q4: bool) -> tuple[list[int], list[Matrix], bool]:
    """The codebooks whose tables are in this format, these tables, and whether the text table ends the list."""
    codebooks = [k for k, table in enumerate(weights.embeddings) if isinstance(table, Q4Matrix) == q4]
    tables = [weights.embeddings[k] for k in codebooks]
    has_text = isinstance(weights.text_embedding, Q4Matrix) == q4
    return codebooks, [*tables, weights.text_embedding] if has_text else tables, has_text


def _buffer_bytes(matrices: Sequence[Matrix]) -> list[int]:
    """How long each of the buffers of matrices of one format is; none of them is read for it."""
    q4 = [matrix.n_bytes for matrix in matrices if isinstance(matrix, Q4Matrix)]
    dense = [matrix.nbytes for matrix in matrices if not isinstance(matrix, Q4Matrix)]
    return [sum(parts) for parts in zip(*q4, strict=True)] + ([sum(dense)] if dense else [])


def _upload(device: Device, label: str, matrices: Sequence[Matrix]) -> tuple[Buffer, ...]:
    """Matrices of one format, stacked: the buffers in the order of the shaders' bindings."""
    parts = zip(_parts(matrices), _buffer_bytes(matrices), strict=True)
    return tuple(upload_stream(device, label, arrays, n_bytes) for arrays, n_bytes in parts)


def _parts(matrices: Sequence[Matrix]) -> list[Iterator[NDArray[Any]]]:
    """The arrays of matrices of one format, buffer by buffer: blocks and scales, or the values.

    A stored matrix is read when its turn comes.
    """
    q4 = [matrix for matrix in matrices if isinstance(matrix, Q4Matrix)]
    if q4:
        return [(matrix.q4 for matrix in q4), (matrix.scale for matrix in q4)]
    return [(matrix for matrix in matrices if not isinstance(matrix, Q4Matrix))]


def _ring_bytes(config: LMConfig) -> int:
    return F32_BYTES * config.transformer.context * config.transformer.d
