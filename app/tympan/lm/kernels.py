"""The transformer's kernels: for each shader its constants and its grid, from the sizes of the model."""

from __future__ import annotations

from tympan.gpu.kernel import Compiler, Kernel
from tympan.weights.q4 import BLOCK

WORKGROUP = 64  # invocations, in every shader
MAX_LANES_Q4 = 8  # blocks of a row in flight at once
MAX_LANES_F32 = 32
F32_BYTES = 4


async def embed_sum(compiler: Compiler, d: int, n_rows: int, text_row: int, *, q4: bool, accumulate: bool) -> Kernel:
    """Sum of `n_rows` audio rows and, where text_row >= 0, one text row of tables of one format."""
    shader = "embed_sum_q4" if q4 else "embed_sum_f32"
    return await compiler.compile(
        shader, _groups(d), d=d, n_rows=n_rows, text_row=text_row, accumulate=int(accumulate)
    )


async def rms_norm(compiler: Compiler, d: int) -> Kernel:
    """Norm of one vector (d,)."""
    return await compiler.compile("rms_norm", 1, d=d)


async def matvec_f32(compiler: Compiler, n: int, k: int, *, accumulate: bool = False) -> Kernel:
    """W (n, k) in float32 times x (k,); added to y (n,) when `accumulate`."""
    n_lanes = _n_lanes(k, MAX_LANES_F32)
    return await compiler.compile(
        "matvec_f32", _groups(n * n_lanes), n=n, k=k, n_lanes=n_lanes, accumulate=int(accumulate)
    )


async def matvec_q4(compiler: Compiler, n: int, k: int, *, accumulate: bool = False) -> Kernel:
    """W (n, k) of Q4 blocks times x, padded with zeros to whole blocks; added to y (n,) when `accumulate`."""
    n_blocks = -(-k // BLOCK)
    n_lanes = _n_lanes(n_blocks, MAX_LANES_Q4)
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


def _n_lanes(n_items: int, most: int) -> int:
    """The invocations that share a row: the largest power of two that leaves none of them idle."""
    return min(most, 1 << (n_items.bit_length() - 1))
