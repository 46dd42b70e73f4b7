"""Mimi's kernels: the shader, constants and grid of each, from the sizes of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tympan.config import MimiConfig
from tympan.gpu.device import AdapterInfo
from tympan.gpu.kernel import Compiler, Constant, Dispatch, Kernel
from tympan.mimi.kernels import Activation

WeightFormat: TypeAlias = Literal["f32", "f16", "i8"]
Input: TypeAlias = Literal["plain", "history", "norm"]
Output: TypeAlias = Literal["rows", "history", "qkv"]

VEC4 = 4
ROW_BLOCK = 4  # rows of the result that a workgroup of mimi_product_rows.wgsl computes
MAX_BINDINGS = 8
MAX_LANES = 256  # of mimi_product_rows.wgsl
MAX_SPLITS = 64  # of a codebook
NEVER = 1 << 30  # tiles: more than any result has


@dataclass(frozen=True)
class Tile:
    """A tile of mimi_product_tile.wgsl: 4 n_y rows and 4 n_x columns, with n_splits invocations for each 16 results."""

    n_x: int
    n_y: int
    n_splits: int

    @property
    def n_invocations(self) -> int:
        return self.n_x * self.n_y * self.n_splits

    def n_workgroups(self, n_rows: int, n: int) -> int:
        return -(-n_rows // (VEC4 * self.n_y)) * -(-n // (VEC4 * self.n_x))


@dataclass(frozen=True)
class Search:
    """How mimi_quantize.wgsl searches a codebook: n_splits workgroups, n_lanes invocations for each entry."""

    n_invocations: int = 256
    n_lanes: int = 8
    n_splits: int = MAX_SPLITS

    def splits_of(self, n_bins: int) -> int:
        """Return the number of splits: no more than give every invocation of a workgroup an entry to work on."""
        return min(self.n_splits, MAX_SPLITS, -(-n_bins * self.n_lanes // self.n_invocations))


@dataclass(frozen=True)
class Tuning:
    """The parameters of the kernels for one adapter. Results are the same but for the order of sums."""

    tile: Tile = Tile(8, 8, 4)
    n_tiles: int = 128  # with fewer, the matrix is multiplied by groups of lanes instead, which occupy the GPU better
    n_lane_loads: int = 8  # vec4 groups that a lane of mimi_product_rows.wgsl multiplies, if MAX_LANES suffice
    n_row_invocations: int = 64  # of mimi_product_rows.wgsl, if a group has no more lanes
    attention: int = 128  # invocations
    search: Search = Search()

    @classmethod
    def for_adapter(cls, adapter: AdapterInfo) -> Tuning:
        """Return the parameters for an adapter.

        On a software GPU, every barrier costs time for each invocation, and tiles take twice as long to compile.
        """
        if not adapter.is_software:
            return cls()
        return cls(
            tile=Tile(4, 4, 1),
            n_tiles=NEVER,
            n_lane_loads=64,
            n_row_invocations=8,
            attention=16,
            search=Search(16, 1, 1),
        )


@dataclass(frozen=True)
class Product:
    """A product with a matrix (n, k), in one call for all rows: `out = activation(input @ W.T, vector, out)`."""

    label: str
    weights: WeightFormat
    n: int
    k: int
    rows_per_frame: int
    input: Input = "plain"
    output: Output = "rows"
    channels: int = 0  # of a convolution: those of its input
    stride: int = 1
    applies_elu: bool = False  # to the input of a convolution
    replicates: bool = False  # before the first input, copies of it instead of zeros
    n_next: int = 0  # rows of the result that the convolution after it needs again
    scales: bool = False  # the vector is multiplied, not added
    adds_out: bool = False
    activation: Activation = Activation.NONE

    @property
    def n_history(self) -> int:
        """Rows of the input that are kept from the call before."""
        return self.k // self.channels - self.stride if self.input == "history" else 0

    def uses_tiles(self, tuning: Tuning, n_frames: int) -> bool:
        """Whether tiles occupy the GPU in a call of n_frames."""
        return tuning.tile.n_workgroups(n_frames * self.rows_per_frame, self.n) >= tuning.n_tiles

    def n_lanes(self, tuning: Tuning) -> int:
        """How many lanes share a row of the matrix: a power of two."""
        n_wanted = max(1, self.k // VEC4 // tuning.n_lane_loads)
        return min(MAX_LANES, 1 << (n_wanted - 1).bit_length())

    def n_row_invocations(self, tuning: Tuning) -> int:
        return max(tuning.n_row_invocations, self.n_lanes(tuning))

    def n_workgroups(self, tuning: Tuning, n_frames: int, in_tiles: bool) -> int:
        """The grid for a call of n_frames."""
        n_rows = n_frames * self.rows_per_frame
        if in_tiles:
            return tuning.tile.n_workgroups(n_rows, self.n)
        n_groups = self.n_row_invocations(tuning) // self.n_lanes(tuning)
        return -(-n_rows // ROW_BLOCK) * -(-self.n // VEC4 // n_groups)


class MimiGpuKernels:
    """Compiles Mimi's kernels for an adapter. Every method raises GpuFault. The grids are those of one frame."""

    def __init__(self, compiler: Compiler, tuning: Tuning, config: MimiConfig, n_slots: int) -> None:
        """n_slots: of the KV cache, at least the context and the positions of a call."""
        self._compiler, self.tuning, self._config, self._n_slots = compiler, tuning, config, n_slots

    async def product(self, product: Product, in_tiles: bool) -> Kernel:
        """A product by one of the two shaders."""
        constants: dict[str, Constant] = {"k": product.k, "n": product.n, "rows_per_frame": product.rows_per_frame}
        if in_tiles:
            tile = self.tuning.tile
            constants |= {"n_x": tile.n_x, "n_y": tile.n_y, "n_splits": tile.n_splits}
        else:
            n_lanes = product.n_lanes(self.tuning)
            constants |= {"n_invocations": product.n_row_invocations(self.tuning), "n_lanes": n_lanes}
        if product.input == "history":
            constants |= {
                "channels": product.channels, "row_stride": product.channels * product.stride,
                "applies_elu": int(product.applies_elu), "replicates": int(product.replicates),
            }  # fmt: skip
        if product.output == "qkv":
            constants |= {"head_width": self._config.transformer.head_width, "n_slots": self._n_slots}
        else:
            constants |= {
                "scales": int(product.scales), "adds_out": int(product.adds_out), "activation": int(product.activation)
            }  # fmt: skip
        if product.output == "history":
            constants["n_history_rows"] = product.n_next
        variables = {"weights": product.weights, "input": product.input, "output": product.output}
        name = "mimi_product_tile" if in_tiles else "mimi_product_rows"
        return await self._compiler.compile(name, variables, product.n_workgroups(self.tuning, 1, in_tiles), constants)

    async def first(self, n: int, size: int, rows_per_frame: int, n_next: int) -> Kernel:
        """The first convolution, of samples."""
        n_workgroups = self.first_workgroups(n, rows_per_frame)
        constants = {"n": n, "size": size, "rows_per_frame": rows_per_frame, "n_history_rows": n_next}
        return await self._compiler.compile(
            "mimi_first", {}, n_workgroups, {**constants, "n_invocations": self.tuning.attention}
        )

    def first_workgroups(self, n: int, n_rows: int) -> int:
        return -(-n_rows * n // VEC4 // self.tuning.attention)

    async def attention(self, rows_per_frame: int) -> Kernel:
        """All queries of a call over the KV cache."""
        sizes = self._config.transformer
        constants = {
            "n_heads": sizes.n_heads, "head_width": sizes.head_width, "context": sizes.context,
            "n_slots": self._n_slots, "rows_per_frame": rows_per_frame,
            "n_invocations": attention_invocations(self.tuning, self._config),
        }  # fmt: skip
        return await self._compiler.compile("mimi_attention", {}, rows_per_frame * sizes.n_heads, constants)

    async def quantize(self, weights: WeightFormat, row_words: int, max_frames: int) -> Kernel:
        """One level of the quantizer for all frames. row_words: of a frame in the result. max_frames: of a call."""
        config, search = self._config, self.tuning.search
        n_splits = search.splits_of(config.n_bins)
        constants = {
            "n_codebooks": config.n_codebooks, "n_bins": config.n_bins, "width": config.quantizer_width,
            "row_words": row_words, "max_frames": max_frames, "n_invocations": search.n_invocations,
            "n_lanes": search.n_lanes, "n_splits": n_splits,
        }  # fmt: skip
        return await self._compiler.compile("mimi_quantize", {"weights": weights}, n_splits, constants)


def attention_invocations(tuning: Tuning, config: MimiConfig) -> int:
    """A power of two, at least one invocation per four elements of a head."""
    return max(tuning.attention, 1 << (config.transformer.head_width // VEC4 - 1).bit_length())


def for_frames(dispatch: Dispatch, n_workgroups: int) -> Dispatch:
    """The same dispatch with another grid."""
    return dispatch._replace(n_workgroups=n_workgroups)
