"""The transformer's kernels: for each the shaders it is made of, its constants and its grid, from the model's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tympan.config import TransformerConfig
from tympan.gpu.buffers import align
from tympan.gpu.device import AdapterInfo
from tympan.gpu.kernel import Compiler, Constant, Kernel
from tympan.weights.blocks import BLOCK
from tympan.weights.matrix import MatrixFormat

KVFormat: TypeAlias = Literal["f16", "f32"]

F32_BYTES = 4
MOST_BINDINGS = 8  # storage buffers of one kernel
QUAD = 4  # elements of a vector that are written together, rows of a matrix that share what they read


@dataclass(frozen=True)
class Shape:
    """How a kernel is laid out: invocations in a workgroup, and how many of them share four rows of a matrix.

    More lanes than a row has parts would have nothing to read: `narrowed` takes fewer for narrow matrices.
    """

    n_invocations: int
    n_lanes: int

    def narrowed(self, n_parts: int) -> Shape:
        """For rows of so many parts: no more lanes than that, as a power of two."""
        return Shape(self.n_invocations, min(self.n_lanes, 1 << max(n_parts - 1, 0).bit_length()))

    def n_workgroups(self, n_groups: int) -> int:
        """The grid for that many groups of lanes."""
        return -(-n_groups * self.n_lanes // self.n_invocations)


@dataclass(frozen=True)
class Tuning:
    """What suits one adapter. Every choice computes the same; integers round the vectors to 16 bits."""

    subgroup_width: int = 0  # the least that the adapter may choose; 0: no subgroups
    has_integers: bool = False  # Q4 is multiplied in integers of 8 bits, else in floats
    # Where rows are few, lanes for a whole row of the 1B: a GPU waits for a round of loads, not for the bytes in it.
    embed: Shape = Shape(64, 64)
    qkv: Shape = Shape(128, 64)
    out_proj: Shape = Shape(256, 64)  # each workgroup puts the attention together
    gate_up: Shape = Shape(32, 32)
    down: Shape = Shape(256, 256)
    head: Shape = Shape(32, 32)
    attention: int = 256  # invocations
    n_split: int = 256  # keys in a split of the attention
    argmax: int = 256  # invocations

    @classmethod
    def of(cls, adapter: AdapterInfo, ring: KVFormat) -> Tuning:
        """The choice for an adapter. A ring in float32 asks for nothing to be rounded; half floats allow for integers.

        Neighbours that read neighbouring blocks suit a GPU. A CPU that plays one reads as well alone, and pays for
        every barrier and for every few invocations that wait at one.
        """
        if not adapter.is_software:
            return cls(adapter.subgroup_width, adapter.has_integer_dot and ring == "f16")
        few, more = Shape(16, 1), Shape(32, 1)
        return cls(
            embed=few, qkv=few, out_proj=more, gate_up=few, down=few, head=few, attention=4, n_split=128, argmax=8
        )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.embed, self.qkv, self.out_proj, self.gate_up, self.down, self.head


class WebGPUKernels:
    """Compiles the transformer's kernels as they suit an adapter. Every method raises GpuFault."""

    def __init__(self, compiler: Compiler, tuning: Tuning, sizes: TransformerConfig, ring: KVFormat) -> None:
        self._compiler, self.tuning, self._sizes, self._ring = compiler, tuning, sizes, ring

    async def embed(self, matrix: MatrixFormat, n_tables: int, text_row: int, accumulate: bool) -> Kernel:
        """Sum of one row of `n_tables` tables and, where text_row >= 0, of one text row."""
        d, shape = self._sizes.d, self.tuning.embed.narrowed(n_tables + 1)
        return await self._with_matrix(
            "embed", matrix, ["residual"], shape, -(-d // QUAD),
            k=d, d=d, n_tables=n_tables, text_row=text_row, accumulate=int(accumulate),
        )  # fmt: skip

    async def qkv(self, matrix: MatrixFormat) -> Kernel:
        """W (3d, d) times the normed stream: the query, and a slot of the rings."""
        d = self._sizes.d
        return await self._with_matrix(
            "qkv", matrix, ["normed", *self._ring_shaders], self.tuning.qkv, -(-3 * d // QUAD),
            k=d, head_width=self._sizes.head_width, context=self._sizes.context,
        )  # fmt: skip

    async def attention(self) -> Kernel:
        """One query over the rings, in `n_splits` parts."""
        constants = {**self._heads(), "n_invocations": self.tuning.attention}
        n_workgroups = self._sizes.n_heads * self.n_splits
        return await self._compiler.compile((*self._ring_shaders, "attention"), n_workgroups, constants)

    async def out_proj(self, matrix: MatrixFormat) -> Kernel:
        """The parts put together, W (d, d) times that, added to the stream."""
        d, shape = self._sizes.d, self.tuning.out_proj
        return await self._with_matrix(
            "out_proj", matrix, ["residual"], shape, -(-d // QUAD), k=d, d=d, **self._heads()
        )

    async def gate_up(self, matrix: MatrixFormat, h: int) -> Kernel:
        """silu(gate) * value of W (2h, d) times the normed stream."""
        return await self._with_matrix(
            "gate_up", matrix, ["normed"], self.tuning.gate_up, -(-h // 2), k=self._sizes.d, h=h
        )

    async def down(self, matrix: MatrixFormat, h: int) -> Kernel:
        """W (d, h) times the hidden vector, added to the stream."""
        d = self._sizes.d
        return await self._with_matrix("down", matrix, ["residual"], self.tuning.down, -(-d // QUAD), k=h, d=d)

    async def head(self, matrix: MatrixFormat, n: int) -> Kernel:
        """W (n, d) times the normed stream."""
        return await self._with_matrix(
            "head", matrix, ["normed"], self.tuning.head, -(-n // QUAD), k=self._sizes.d, n=n
        )

    async def argmax(self, n: int) -> Kernel:
        """Index of the largest of n logits."""
        return await self._compiler.compile(("argmax",), 1, {"n": n, "n_invocations": self.tuning.argmax})

    @property
    def n_splits(self) -> int:
        """Into how many parts a full ring is split."""
        return -(-self._sizes.context // self.tuning.n_split)

    @property
    def _ring_shaders(self) -> tuple[str, str]:
        return "kv_cache", f"kv_cache_{self._ring}"

    def _matrix_shaders(self, matrix: MatrixFormat) -> tuple[str, str]:
        """How a matrix is read, and how it is multiplied."""
        if matrix == "q4":
            return "matrix_q4", "q4_integers" if self.tuning.has_integers else "q4_floats"
        return f"matrix_{matrix}", "quads"

    def _heads(self) -> dict[str, Constant]:
        return {
            "n_heads": self._sizes.n_heads,
            "head_width": self._sizes.head_width,
            "context": self._sizes.context,
            "n_split": self.tuning.n_split,
        }

    async def _with_matrix(
        self, name: str, matrix: MatrixFormat, parts: list[str], shape: Shape, n_groups: int, **constants: Constant
    ) -> Kernel:
        """A kernel of `n_groups` groups of lanes, each of which reads four rows of a matrix."""
        shape = shape.narrowed(-(-int(constants["k"]) // (BLOCK if matrix == "q4" else QUAD)))
        lanes = "lanes_tree"
        if self.tuning.subgroup_width and shape.n_lanes > 1:
            lanes = "lanes_subgroup"
            constants["subgroup_width"] = self.tuning.subgroup_width
        shaders = (lanes, "vector", *self._matrix_shaders(matrix), "rows", *parts, name)
        constants |= {"n_invocations": shape.n_invocations, "n_lanes": shape.n_lanes}
        return await self._compiler.compile(shaders, shape.n_workgroups(n_groups), constants)


def needed_limits(tuning: Tuning, sizes: TransformerConfig, h: int, text_card: int) -> dict[str, int]:
    """The WebGPU limits, by name, that the kernels must be given."""
    n_splits = -(-sizes.context // tuning.n_split)
    products, sums = max(tuning.attention, tuning.n_split // QUAD), max(tuning.attention, -(-sizes.head_width // 8))
    attention = 4 * products + 2 * tuning.n_split + 8 * sums + QUAD
    out_proj = 5 * tuning.out_proj.n_invocations + padded(sizes.d) + 3 * n_splits * sizes.n_heads
    n_invocations = max(tuning.attention, tuning.argmax, *(shape.n_invocations for shape in tuning.shapes))
    n_groups = -(-max(text_card, 3 * sizes.d, 2 * h) // QUAD)
    return {
        "maxComputeInvocationsPerWorkgroup": n_invocations,
        "maxComputeWorkgroupSizeX": n_invocations,
        "maxComputeWorkgroupStorageSize": F32_BYTES * max(attention, out_proj, 2 * tuning.argmax),
        "maxComputeWorkgroupsPerDimension": max(
            n_splits * sizes.n_heads, *(shape.n_workgroups(n_groups) for shape in tuning.shapes)
        ),
    }


def padded(n: int) -> int:
    """The elements of a vector of n, filled up to whole blocks."""
    return align(n, BLOCK)
