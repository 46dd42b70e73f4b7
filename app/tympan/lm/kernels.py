"""The transformer's kernels: for each shader its constants and its grid, from the sizes of the model."""

from __future__ import annotations

from dataclasses import dataclass

from tympan.gpu.device import AdapterInfo
from tympan.gpu.kernel import Compiler, Kernel
from tympan.weights.q4 import BLOCK

WORKGROUP = 64  # invocations, in every shader
F32_BYTES = 4


@dataclass(frozen=True)
class Lanes:
    """How many invocations share a row of a matrix, by format."""

    f32: int
    q4: int

    @classmethod
    def best_on(cls, adapter: AdapterInfo) -> Lanes:
        """Neighbours that read neighbouring words suit a GPU. A CPU that plays one reads as well alone, and pays
        for every invocation and every barrier: there one lane is 3 times as fast as eight."""
        return cls(f32=1, q4=1) if adapter.is_software else cls(f32=32, q4=8)


async def embed_sum(compiler: Compiler, d: int, n_rows: int, text_row: int, *, q4: bool, accumulate: bool) -> Kernel:
    """Sum of `n_rows` audio rows and, where text_row >= 0, one text row of tables of one format."""
    shader = "embed_sum_q4" if q4 else "embed_sum_f32"
    return await compiler.compile(shader, _groups(d), d=d, n_rows=n_rows, text_row=text_row, accumulate=int(accumulate))


async def rms_norm(compiler: Compiler, d: int) -> Kernel:
    """Norm of one vector (d,)."""
    return await compiler.compile("rms_norm", 1, d=d)


async def matvec_f32(compiler: Compiler, n: int, k: int, *, n_lanes: int, accumulate: bool = False) -> Kernel:
    """W (n, k) in float32 times x (k,); added to y (n,) when `accumulate`. n_lanes: a power of two, at most 64."""
    return await compiler.compile(
        "matvec_f32", _groups(n * n_lanes), n=n, k=k, n_lanes=n_lanes, accumulate=int(accumulate)
    )


async def matvec_q4(compiler: Compiler, n: int, k: int, *, n_lanes: int, accumulate: bool = False) -> Kernel:
    """As `matvec_f32`, of Q4 blocks, with x padded with zeros to whole blocks."""
    n_blocks = -(-k // BLOCK)
    return await compiler.compile(
        "matvec_q4", _groups(n * n_lanes), n=n, n_blocks=n_blocks, n_lanes=n_lanes, accumulate=int(accumulate)
    )


async def rope_cache(compiler: Compiler, d: int, head_width: int) -> Kernel:
    """Rotate the query (d,) and the key; put key and value into their rings."""
    return await compiler.compile("rope_cache", _groups(d // 2), d=d, head_width=head_width)


async def attention(compiler: Compiler, d: int, head_width: int, context: int) -> Kernel:
    """One query (d,) over rings (context, d). Needs `attention_workgroup_bytes(context)`."""
    return await compiler.compile("attention", d // head_width, d=d, head_width=head_width, context=context)


async def gated_silu(compiler: Compiler, h: int) -> Kernel:
    """silu(gate) * value of a vector (2h,)."""
    return await compiler.compile("gated_silu", _groups(h), h=h)


async def argmax(compiler: Compiler, n: int) -> Kernel:
    """Index of the largest of n logits."""
    return await compiler.compile("argmax", 1, n=n)


def attention_workgroup_bytes(context: int) -> int:
    """The workgroup memory that `attention` needs: a score for each slot, a partial sum for each lane."""
    return F32_BYTES * (context + WORKGROUP)


def _groups(n_invocations: int) -> int:
    return -(-n_invocations // WORKGROUP)
