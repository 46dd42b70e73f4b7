"""The transformer's kernels: the shader, constants and grid of each, from the sizes of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tympan.config import FIRST_TEXT_ID, TransformerConfig
from tympan.gpu.buffers import align
from tympan.gpu.device import AdapterInfo
from tympan.gpu.kernel import Compiler, Constant, Kernel
from tympan.lm.decoding import MIN_LOGIT, MIN_LOGIT_WITHIN, N_CANDIDATES
from tympan.weights.blocks import BLOCK
from tympan.weights.matrix import MatrixFormat

KVFormat: TypeAlias = Literal["f16", "f32"]

F32_BYTES = 4
MAX_BINDINGS = 8  # storage buffers of one kernel
VEC4 = 4  # elements of a vec4 group: written together in a vector; rows of a matrix that a lane group computes


@dataclass(frozen=True)
class Shape:
    """Invocations per workgroup, and lanes: how many of them share four rows of a matrix.

    Lanes in excess of the chunks of a row would have nothing to read: `narrowed` reduces them for narrow matrices.
    """

    n_invocations: int
    n_lanes: int

    def narrowed(self, n_chunks: int) -> Shape:
        """Return the shape for rows of `n_chunks` chunks: no more lanes than that, rounded up to a power of two."""
        return Shape(self.n_invocations, min(self.n_lanes, 1 << max(n_chunks - 1, 0).bit_length()))

    def n_workgroups(self, n_groups: int) -> int:
        """Return the grid for `n_groups` groups of lanes."""
        return -(-n_groups * self.n_lanes // self.n_invocations)


@dataclass(frozen=True)
class Tuning:
    """The kernel parameters for one adapter. Results are the same, except that integers round vectors to 16 bits."""

    subgroup_width: int = 0  # the smallest that the adapter may choose; 0: do not use subgroups
    has_integers: bool = False  # multiply Q4 in 8-bit integers instead of floats
    # Kernels of few rows have enough lanes for a whole row of the 1B model: loads of one round overlap, rounds do not.
    embed: Shape = Shape(64, 64)
    qkv: Shape = Shape(128, 64)
    out_proj: Shape = Shape(256, 64)  # every workgroup combines the splits of the attention
    gate_up: Shape = Shape(32, 32)
    down: Shape = Shape(256, 256)
    head: Shape = Shape(32, 32)
    attention: int = 256  # invocations
    n_split: int = 256  # keys per split of the attention
    decode: int = 256  # invocations

    @classmethod
    def for_adapter(cls, adapter: AdapterInfo, kv_format: KVFormat) -> Tuning:
        """Return the parameters for an adapter. Integers need half floats in the KV cache: f32 rounds nothing.

        On a GPU, adjacent lanes that read adjacent blocks are fast. A software GPU reads as fast with one lane, and
        every barrier costs it time for each group of invocations that waits there.
        """
        if not adapter.is_software:
            return cls(adapter.subgroup_width, adapter.has_integer_dot and kv_format == "f16")
        few, more = Shape(16, 1), Shape(32, 1)
        return cls(
            embed=few, qkv=few, out_proj=more, gate_up=few, down=few, head=few, attention=4, n_split=128, decode=8
        )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.embed, self.qkv, self.out_proj, self.gate_up, self.down, self.head


class WebGPUKernels:
    """Compiles the transformer's kernels for an adapter. Every method raises GpuFault."""

    def __init__(self, compiler: Compiler, tuning: Tuning, sizes: TransformerConfig, kv_format: KVFormat) -> None:
        self._compiler, self.tuning, self._sizes, self._kv_format = compiler, tuning, sizes, kv_format

    async def embed(self, matrix: MatrixFormat, n_tables: int, text_row: int, accumulate: bool) -> Kernel:
        """Add one row of each of `n_tables` tables and, if text_row >= 0, one row of the text table."""
        d, shape = self._sizes.d, self.tuning.embed.narrowed(n_tables + 1)
        return await self._matvec(
            "embed", matrix, shape, -(-d // VEC4),
            k=d, d=d, n_tables=n_tables, text_row=text_row, accumulate=int(accumulate),
        )  # fmt: skip

    async def qkv(self, matrix: MatrixFormat) -> Kernel:
        """Multiply W (3d, d) by the normed residual stream; write the query, and the key and value to the KV cache."""
        d = self._sizes.d
        return await self._matvec(
            "qkv", matrix, self.tuning.qkv, -(-3 * d // VEC4),
            k=d, head_width=self._sizes.head_width, context=self._sizes.context,
        )  # fmt: skip

    async def attention(self) -> Kernel:
        """Attend with one query over the KV cache, in `n_splits` splits."""
        constants = {**self._heads(), "n_invocations": self.tuning.attention}
        n_workgroups = self._sizes.n_heads * self.n_splits
        return await self._compiler.compile("attention", {"kv_format": self._kv_format}, n_workgroups, constants)

    async def out_proj(self, matrix: MatrixFormat) -> Kernel:
        """Combine the splits of the attention; add W (d, d) times the result to the residual stream."""
        d, shape = self._sizes.d, self.tuning.out_proj
        return await self._matvec("out_proj", matrix, shape, -(-d // VEC4), k=d, d=d, **self._heads())

    async def gate_up(self, matrix: MatrixFormat, h: int) -> Kernel:
        """Compute silu(gate) * value of W (2h, d) times the normed residual stream."""
        return await self._matvec("gate_up", matrix, self.tuning.gate_up, -(-h // 2), k=self._sizes.d, h=h)

    async def down(self, matrix: MatrixFormat, h: int) -> Kernel:
        """Add W (d, h) times the hidden vector to the residual stream."""
        d = self._sizes.d
        return await self._matvec("down", matrix, self.tuning.down, -(-d // VEC4), k=h, d=d)

    async def head(self, matrix: MatrixFormat, n: int) -> Kernel:
        """Multiply W (n, d) by the normed residual stream."""
        return await self._matvec("head", matrix, self.tuning.head, -(-n // VEC4), k=self._sizes.d, n=n)

    async def decode(self, n: int) -> Kernel:
        """Select the text token by n logits, and keep the next most likely ones."""
        constants = {"min_logit": MIN_LOGIT, "min_logit_within": MIN_LOGIT_WITHIN, "n_special": FIRST_TEXT_ID}
        return await self._compiler.compile("decode", {}, 1, {"n": n, "n_invocations": self.tuning.decode, **constants})

    @property
    def n_splits(self) -> int:
        """The number of splits of a full KV cache."""
        return -(-self._sizes.context // self.tuning.n_split)

    def _heads(self) -> dict[str, Constant]:
        return {
            "n_heads": self._sizes.n_heads,
            "head_width": self._sizes.head_width,
            "context": self._sizes.context,
            "n_split": self.tuning.n_split,
        }

    async def _matvec(
        self, name: str, matrix: MatrixFormat, shape: Shape, n_groups: int, **constants: Constant
    ) -> Kernel:
        """Compile a kernel of `n_groups` groups of lanes, each of which computes four rows of a matrix."""
        shape = shape.narrowed(-(-int(constants["k"]) // (BLOCK if matrix == "q4" else VEC4)))
        has_subgroups = self.tuning.subgroup_width > 0 and shape.n_lanes > 1
        if has_subgroups:
            constants["subgroup_width"] = self.tuning.subgroup_width
        variables = {
            "format": matrix,
            "arithmetic": "integers" if self.tuning.has_integers else "floats",
            "lanes": "subgroup" if has_subgroups else "tree",
            "kv_format": self._kv_format,
        }
        constants |= {"n_invocations": shape.n_invocations, "n_lanes": shape.n_lanes}
        return await self._compiler.compile(name, variables, shape.n_workgroups(n_groups), constants)


def needed_limits(tuning: Tuning, sizes: TransformerConfig, h: int, text_card: int) -> dict[str, int]:
    """Return the WebGPU limits, by name, that the kernels need."""
    n_splits = -(-sizes.context // tuning.n_split)
    scores, sums = max(tuning.attention, tuning.n_split // VEC4), max(tuning.attention, -(-sizes.head_width // 8))
    attention = 4 * scores + 2 * tuning.n_split + 8 * sums + VEC4
    out_proj = 5 * tuning.out_proj.n_invocations + padded_to_blocks(sizes.d) + 3 * n_splits * sizes.n_heads
    n_invocations = max(tuning.attention, tuning.decode, *(shape.n_invocations for shape in tuning.shapes))
    decode = (2 * N_CANDIDATES + 1) * tuning.decode + 2
    n_groups = -(-max(text_card, 3 * sizes.d, 2 * h) // VEC4)
    return {
        "maxComputeInvocationsPerWorkgroup": n_invocations,
        "maxComputeWorkgroupSizeX": n_invocations,
        "maxComputeWorkgroupStorageSize": F32_BYTES * max(attention, out_proj, decode),
        "maxComputeWorkgroupsPerDimension": max(
            n_splits * sizes.n_heads, *(shape.n_workgroups(n_groups) for shape in tuning.shapes)
        ),
    }


def padded_to_blocks(n: int) -> int:
    """Return the length of a vector of n elements in the layout of interleaved.wgsl, which has whole blocks."""
    return align(n, BLOCK)
