"""The golden transformer: inputs, official outputs, and its weights in other formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.app.golden import golden
from tympan.arrays import Float32, Int32
from tympan.lm.backend import Step
from tympan.lm.reference import Reference
from tympan.lm.weights import LMWeights
from tympan.weights import q8
from tympan.weights.matrix import Matrix, dense, format_of
from tympan.weights.q4 import quantize

STREAMS = """
alone = await run(backend, frames)
first, second = backend.new_state(), backend.new_state()
alternating = [], []
for frame in frames:
    for state, steps in zip((first, second), alternating):
        steps.append(await backend.step(state, frame))
result = [[step.token for step in steps] for steps in (alone, *alternating)]
"""


def frames() -> list[Int32 | None]:
    """Inputs of the steps: the initial tokens, then the official codes."""
    return [None, *golden().expected["stream_codes"].T.astype(np.int32)]


def official(name: str) -> Float32:
    return golden().expected[f"primed_{name}"].astype(np.float32)


def official_tokens() -> list[int]:
    tokens: list[int] = golden().expected["primed_text_tokens"].tolist()
    return tokens


def reference_steps(weights: LMWeights) -> list[Step]:
    reference = Reference(golden().lm_config, weights)
    state = reference.new_state()
    return [reference.step(state, frame, want_logits=True).step for frame in frames()]


def logits_of(steps: list[Step]) -> Float32:
    return np.stack([step.logits for step in steps if step.logits is not None])


def heads_of(steps: list[Step]) -> Float32:
    return np.stack([step.extra_heads for step in steps if step.extra_heads is not None])


def q4(matrix: Matrix) -> Matrix:
    return matrix if format_of(matrix) == "q4" else quantize(dense(matrix))


def in_q4(weights: LMWeights) -> LMWeights:
    """Every matrix in Q4, as in a converted model; norms and extra heads stay dense."""
    return replace(
        weights,
        embeddings=tuple(q4(table) for table in weights.embeddings),
        text_embedding=q4(weights.text_embedding),
        layers=tuple(
            replace(
                layer,
                in_proj=q4(layer.in_proj),
                out_proj=q4(layer.out_proj),
                linear_in=q4(layer.linear_in),
                linear_out=q4(layer.linear_out),
            )
            for layer in weights.layers
        ),
        text_linear=q4(weights.text_linear),
    )


def in_q8(matrix: Matrix) -> Matrix:
    return q8.quantize(dense(matrix))


def with_q8_tables(weights: LMWeights) -> LMWeights:
    """As converted by `tympan quantize --embeddings q8`."""
    tables = tuple(map(in_q8, weights.embeddings))
    return replace(in_q4(weights), embeddings=tables, text_embedding=in_q8(weights.text_embedding))


def in_all_formats(weights: LMWeights) -> LMWeights:
    """Tables of alternating formats; of the other matrices one in Q8, one dense, the rest in Q4."""
    first, *others = in_q4(weights).layers
    rounded = [q4, in_q8, dense]
    return replace(
        in_q4(weights),
        embeddings=tuple(rounded[k % 3](table) for k, table in enumerate(weights.embeddings)),
        text_embedding=in_q8(weights.text_embedding),
        layers=(replace(first, linear_out=in_q8(weights.layers[0].linear_out)), *others),
        text_linear=weights.text_linear,
    )
