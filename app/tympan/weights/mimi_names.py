"""Finds the tensors of Mimi's encoder in a checkpoint with any of the published naming schemes and row orders.

Three schemes are read and converted to the first:

    official   encoder_transformer.transformer.layers.0.self_attn.in_proj_weight
    PyTorch    encoder_transformer.transformer.layers.0.self_attn.in_projs.0.weight
    HF         encoder_transformer.layers.0.self_attn.{q,k,v}_proj.weight

HF, the layout of Hugging Face's *transformers*, also reorders the rows of q and k, because its RoPE rotates the two
halves of a head and not neighbouring pairs. Without undoing this, the encoder silently produces wrong codes.
Sources: kyutai-labs/moshi@e6a55d2 moshi/modules/{seanet,transformer}.py;
huggingface/transformers@15ea02a src/transformers/models/mimi/convert_mimi_checkpoint_to_pytorch.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np

from tympan.config import MimiConfig
from tympan.errors import BadModel
from tympan.weights.safetensors import Tensor

_HF_PREFIX = "encoder_transformer.layers."  # no official name begins with it

# Official part -> HF part, applied in this order.
_HF_PARTS = (
    ("conv.conv.conv.", "conv."),
    ("conv.conv.", "conv."),
    ("encoder.model.", "encoder.layers."),
    ("encoder_transformer.transformer.", "encoder_transformer."),
    ("linear1.", "mlp.fc1."),
    ("linear2.", "mlp.fc2."),
    ("self_attn.out_proj.", "self_attn.o_proj."),
    ("norm1.", "input_layernorm."),
    ("norm2.", "post_attention_layernorm."),
    ("layer_scale_1.", "self_attn_layer_scale."),
    ("layer_scale_2.", "mlp_layer_scale."),
    ("rvq_first.", "semantic_residual_vector_quantizer."),
    ("rvq_rest.", "acoustic_residual_vector_quantizer."),
    ("vq.layers.", "layers."),
    ("_codebook.", "codebook."),
    ("embedding_sum", "embed_sum"),
)


class EncoderTensors(Mapping[str, Tensor]):
    """The encoder's tensors under the official names, without the decoder and codebooks beyond `config.n_codebooks`.

    Each tensor is read on access, in its stored dtype, so that a large checkpoint is never in memory as a whole.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: MimiConfig) -> None:
        """tensors: a checkpoint in any of the three schemes. Raises BadModel if a tensor is missing."""
        self._tensors, self._n_heads = tensors, config.transformer.n_heads
        is_hf = any(name.startswith(_HF_PREFIX) for name in tensors)
        self._published = {  # official name -> names in the checkpoint
            name: _hf_names(name) if is_hf else (_published_name(tensors, name),) for name in encoder_names(config)
        }
        for name in chain.from_iterable(self._published.values()):
            if name not in tensors:
                raise BadModel(f"the Mimi checkpoint has no tensor {name}")

    def sources(self, name: str) -> tuple[str, ...]:
        """The names in the checkpoint that an official tensor is read from: one, or those of q, k and v."""
        return self._published[name]

    def __getitem__(self, name: str) -> Tensor:
        parts = [self._tensors[published] for published in self._published[name]]
        if len(parts) == 1:
            return parts[0]
        q, k, v = parts
        return np.concatenate([_interleave(q, self._n_heads), _interleave(k, self._n_heads), v])

    def __contains__(self, name: object) -> bool:  # Mapping's default would read the tensor
        return name in self._published

    def __iter__(self) -> Iterator[str]:
        return iter(self._published)

    def __len__(self) -> int:
        return len(self._published)


def encoder_names(config: MimiConfig) -> Iterator[str]:
    """The official names of the encoder's tensors, in the order of the data flow."""
    yield from _conv("encoder.model.0.conv")
    last = 2 + 3 * len(config.ratios)  # a stage is three layers: the block, ELU, the strided conv
    for block in range(1, last - 1, 3):
        yield from _conv(f"encoder.model.{block}.block.1.conv")
        yield from _conv(f"encoder.model.{block}.block.3.conv")
        yield from _conv(f"encoder.model.{block + 2}.conv")
    yield from _conv(f"encoder.model.{last}.conv")
    for i in range(config.transformer.n_layers):
        layer = f"encoder_transformer.transformer.layers.{i}."
        yield from (layer + "norm1.weight", layer + "norm1.bias")
        yield from (layer + "self_attn.in_proj_weight", layer + "self_attn.out_proj.weight")
        yield layer + "layer_scale_1.scale"
        yield from (layer + "norm2.weight", layer + "norm2.bias")
        yield from (layer + "linear1.weight", layer + "linear2.weight")
        yield layer + "layer_scale_2.scale"
    yield "downsample.conv.conv.conv.weight"
    yield from _residual_quantizer("quantizer.rvq_first", 1)
    yield from _residual_quantizer("quantizer.rvq_rest", config.n_codebooks - 1)


def _conv(name: str) -> tuple[str, str]:
    return f"{name}.conv.weight", f"{name}.conv.bias"


def _residual_quantizer(name: str, n_codebooks: int) -> Iterator[str]:
    yield f"{name}.input_proj.weight"
    for level in range(n_codebooks):
        yield f"{name}.vq.layers.{level}._codebook.embedding_sum"
        yield f"{name}.vq.layers.{level}._codebook.cluster_usage"


def _published_name(tensors: Mapping[str, Tensor], name: str) -> str:
    """`name`, or its PyTorch alias if the checkpoint has that."""
    alias = name.replace("in_proj_weight", "in_projs.0.weight").replace("out_proj.", "out_projs.0.")
    return alias if alias in tensors else name


def _hf_names(name: str) -> tuple[str, ...]:
    """The HF name of an official tensor; the three names that `in_proj_weight` is concatenated from."""
    for official, hf in _HF_PARTS:
        name = name.replace(official, hf)
    if name.endswith("in_proj_weight"):
        return tuple(name.replace("in_proj_weight", f"{part}_proj.weight") for part in "qkv")
    return (name,)


def _interleave(half_split: Tensor, n_heads: int) -> Tensor:
    """Undo HF's row order. half_split: (d, d); row j * D/2 + i of a head becomes row 2i + j, j in {0, 1}."""
    d = half_split.shape[0]
    if d % (2 * n_heads):
        raise BadModel(f"a projection of {d} rows cannot be split into {n_heads} rotary heads")
    return half_split.reshape(n_heads, 2, d // n_heads // 2, -1).swapaxes(1, 2).reshape(half_split.shape)
