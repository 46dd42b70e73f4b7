"""Plans the conversion of an official checkpoint, and carries it out tensor by tensor.

The command line and the page run this code: the one on files, the other on parts of files at a URL. The plan is made
from shapes alone, so it is known before any tensor is read which bytes of which shard each tensor becomes, and an
interrupted conversion can continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tympan.arrays import Float32
from tympan.checkpoint import scales
from tympan.config import LMConfig, MimiConfig
from tympan.errors import BadModel
from tympan.lm.weights import LMWeights
from tympan.mimi.encoder import MimiWeights
from tympan.weights import q8
from tympan.weights.blocks import BlockMatrix, n_blocks_of
from tympan.weights.file import TensorInfo
from tympan.weights.manifest import Role
from tympan.weights.matrix import BLOCKS, MatrixFormat
from tympan.weights.mimi_names import EncoderTensors
from tympan.weights.safetensors import Tensor, header_of, numpy_dtype

MimiFormat: TypeAlias = Literal["as-is", "f16"]

SHARD_BYTES = 64 << 20
TOKENIZER_NAME = "tokenizer.model"  # in a converted model

_QUANTIZERS: dict[MatrixFormat, Callable[[Float32], BlockMatrix]] = {"q4": scales.quantize, "q8": q8.quantize}
_TABLES = ("emb.", "text_emb.")
_LM_PREFIXES = (*_TABLES, "transformer.layers.", "out_norm.", "text_linear.", "extra_heads.")


class Headers(Protocol):
    """What a plan needs of a checkpoint: the names, shapes and dtypes of its tensors, in the order of the data."""

    def __iter__(self) -> Iterator[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> str: ...


@dataclass(frozen=True)
class Formats:
    """Formats of the transformer's matrices, of its embedding tables, and of Mimi."""

    matrices: MatrixFormat = "q4"
    tables: MatrixFormat = "q4"
    mimi: MimiFormat = "as-is"


@dataclass(frozen=True)
class Conversion:
    """One tensor of the checkpoint, and what is stored for it."""

    name: str  # official
    sources: tuple[str, ...]  # its names in the checkpoint; three where q, k and v are separate
    stored: tuple[TensorInfo, ...]
    format: MatrixFormat  # "f32" for everything that is not quantized

    @property
    def n_bytes(self) -> int:
        """Bytes of what is stored."""
        return sum(tensor.n_bytes for tensor in self.stored)


@dataclass(frozen=True)
class Shard:
    """One file to write: a safetensors header, then the tensors in this order."""

    role: Role
    path: str
    conversions: tuple[Conversion, ...]

    @property
    def header(self) -> bytes:
        return header_of(tensor for conversion in self.conversions for tensor in conversion.stored)

    @property
    def n_bytes(self) -> int:
        return len(self.header) + sum(conversion.n_bytes for conversion in self.conversions)


def plan_lm(config: LMConfig, lm: Headers, formats: Formats) -> list[Shard]:
    """Plan the transformer's files. Raises BadModel if a tensor is missing or unknown, or its shape differs."""
    conversions = []
    for name in lm:
        if not name.startswith(_LM_PREFIXES):
            raise BadModel(f"the tensor {name} does not belong to a speech-to-text transformer")
        shape = lm.shape(name)
        matrix_format = formats.tables if name.startswith(_TABLES) else formats.matrices
        if len(shape) != 2 or name.startswith("extra_heads."):
            matrix_format = "f32"
        conversions.append(Conversion(name, (name,), _stored(name, shape, matrix_format), matrix_format))
    LMWeights.from_tensors(config, _Zeros(conversions))
    return _shards("lm", conversions)


def plan_mimi(mimi: EncoderTensors, checkpoint: Headers, formats: Formats) -> list[Shard]:
    """Plan Mimi's files: its encoder, in the order of the checkpoint's data.

    mimi: the encoder's tensors of `checkpoint`. float16 is kept, everything else becomes float32; or, for the format
    "f16", all but the codebooks become float16. Codebooks are stored as sums over their uses, which exceed the range
    and precision of float16. int8 tensors are whole numbers, whose scales are in the vectors before or after them.
    """
    position = {name: i for i, name in enumerate(checkpoint)}
    conversions = []
    for name in sorted(mimi, key=lambda name: position[mimi.sources(name)[0]]):
        sources = mimi.sources(name)
        shapes = [checkpoint.shape(source) for source in sources]
        shape = (sum(shape[0] for shape in shapes), *shapes[0][1:]) if len(shapes) > 1 else shapes[0]
        dtype = checkpoint.dtype(sources[0])
        if dtype not in ("I8", "F16"):
            dtype = "F16" if formats.mimi == "f16" and "_codebook." not in name else "F32"
        info = TensorInfo(name, dtype, shape, prod(shape) * numpy_dtype(dtype).itemsize)
        conversions.append(Conversion(name, sources, (info,), "f32"))
    return _shards("mimi", conversions)


def check_mimi(config: MimiConfig, shards: Iterable[Shard]) -> None:
    """Raise BadModel if a planned tensor's shape does not match the config. Builds an encoder of zeros."""
    planned = _Zeros(conversion for shard in shards for conversion in shard.conversions)
    MimiWeights.from_tensors(config, planned)


def convert(conversion: Conversion, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Read one tensor, quantize or round it, and return the arrays to store, in the plan's order.

    tensors: official name -> array; only `conversion.name` is read. Raises BadModel for values that are not finite or
    outside the range of the format.
    """
    name, tensor = conversion.name, tensors[conversion.name]
    if tensor.dtype == np.int8:
        return [np.ascontiguousarray(tensor)]
    values = _finite_float32(name, tensor)
    if conversion.format != "f32":
        try:
            matrix = _QUANTIZERS[conversion.format](values)
        except BadModel as error:
            raise BadModel(f"{name} cannot be quantized: {error.reason}") from error
        return [matrix.blocks, matrix.scale]
    [stored] = conversion.stored
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(values, numpy_dtype(stored.dtype))
    if not np.isfinite(rounded).all():
        raise BadModel(f"the tensor {name} holds a value outside the range of float16")
    return [rounded]


def _stored(name: str, shape: tuple[int, ...], matrix_format: MatrixFormat) -> tuple[TensorInfo, ...]:
    if matrix_format == "f32":
        return (TensorInfo(name, "F32", shape, 4 * prod(shape)),)
    n, k = shape
    blocks, n_blocks = BLOCKS[matrix_format], n_blocks_of(k)
    dtype = "U8" if blocks.dtype is np.uint8 else "I8"
    return (
        TensorInfo(
            f"{name}.{matrix_format}", dtype, (n, n_blocks, blocks.block_bytes), n * n_blocks * blocks.block_bytes
        ),
        TensorInfo(f"{name}.scale", "F16", (n, n_blocks), 2 * n * n_blocks),
    )


def _shards(role: Role, conversions: Iterable[Conversion]) -> list[Shard]:
    """Distribute tensors over `ROLE-00001.safetensors` and so on, each at most 64 MiB unless a tensor is larger."""
    groups: list[list[Conversion]] = [[]]
    n_bytes = 0
    for conversion in conversions:
        if groups[-1] and n_bytes + conversion.n_bytes > SHARD_BYTES:
            groups.append([])
            n_bytes = 0
        groups[-1].append(conversion)
        n_bytes += conversion.n_bytes
    return [Shard(role, f"{role}-{i:05}.safetensors", tuple(group)) for i, group in enumerate(groups, start=1) if group]


class _Zeros(Mapping[str, Tensor]):
    """Planned tensors as zeros, whose shapes are known without reading; to check a plan against the config."""

    def __init__(self, conversions: Iterable[Conversion]) -> None:
        self._tensors = {tensor.name: tensor for conversion in conversions for tensor in conversion.stored}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        return np.zeros(tensor.shape, numpy_dtype(tensor.dtype))  # whose pages use no memory until they are written

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _finite_float32(name: str, tensor: Tensor) -> NDArray[Any]:
    values = tensor.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise BadModel(f"the tensor {name} holds a value that is not finite")
    return values
