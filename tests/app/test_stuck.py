"""A model that repeats itself, or writes while nobody speaks, by forced logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from tests.app.fake_model import PIECES, TOKENIZER, VOICE, FakeMimi, record
from tests.app.golden import golden
from tympan.codes import CodeReader, Codes
from tympan.config import FRAME_S, LMConfig
from tympan.endpointing import TurnKind
from tympan.lm.backend import CompletedStep, Step
from tympan.lm.decoding import candidates_of, decode, initial
from tympan.lm.terms import NO_TERMS, TermTrie
from tympan.mimi.encoder import Mimi
from tympan.stuck import LOOP_REPEATS, MAX_QUIET_S, MAX_QUIET_TOKENS, StuckDetector
from tympan.transcriber import Transcriber
from tympan.transcript import Trace

STUCK, PAD, BOUNDARY = TurnKind.STUCK, 3, 0


@dataclass
class Forced:
    """A transformer whose logits are forced: `choose` maps the step of the context to the token."""

    config: LMConfig
    choose: Callable[[int, int], int]  # the context's number and its step -> token
    name: str = "forced"
    runs_on: str = "nothing"
    code_reader: CodeReader | None = None
    max_steps: int = 1
    n_contexts: int = 0
    records: list[Any] = field(default_factory=list)

    def new_state(self, position: int = 0, *, terms: TermTrie = NO_TERMS) -> list[int]:
        self.n_contexts += 1
        return [self.n_contexts, 0]

    def step(
        self, state: list[int], codes: Codes | None, *, text: int | None = None, want_logits: bool = False
    ) -> CompletedStep:
        logits, decoded = np.zeros(self.config.text_card, np.float32), initial(self.config.text_card)
        logits[self.choose(*state)] = 20.0
        state[1] += 1
        decode(logits, decoded, NO_TERMS)
        return CompletedStep(Step(candidates_of(decoded)[0].token))

    def steps(self, state: list[int], codes: Codes) -> list[CompletedStep]:
        return [self.step(state, frame) for frame in codes]

    def close(self) -> None:
        """Do nothing."""


def forced(choose: Callable[[int, int], int]) -> tuple[Transcriber, Forced]:
    lm = Forced(golden().lm_config, choose)
    return Transcriber(cast(Mimi, FakeMimi()), lm, TOKENIZER), lm


def looping(*loop: int) -> Callable[[int, int], int]:
    """The first context repeats the tokens of a loop, from step 10 on; later contexts write nothing."""
    return lambda context, n: loop[(n - 10) % len(loop)] if context == 1 and n >= 10 else PAD


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("loop", [PIECES[:1], PIECES[:2], PIECES[:3], PIECES[:4], [BOUNDARY, PIECES[5], PAD, PAD]])
def test_a_loop_resets_the_context(loop: list[int], live: bool) -> None:
    transcriber, lm = forced(looping(*loop))
    recorded = record(transcriber, [VOICE] * 120, live=live)
    assert recorded.kinds.count(STUCK) == 1
    assert lm.n_contexts == 2
    (stuck_s,) = recorded.transcript.stuck
    assert stuck_s == next(turn.seconds for turn in recorded.turns if turn.kind is STUCK)
    assert recorded.transcript.to_json()["stuck"] == [stuck_s]
    assert stuck_s < 8
    assert recorded.reported == [word.text for word in recorded.transcript.words]


@pytest.mark.parametrize("n", LOOP_REPEATS)
def test_fewer_repetitions_are_speech(n: int) -> None:
    tokens = [*PIECES[:n] * (LOOP_REPEATS[n] - 1), *PIECES[10:30]]
    transcriber, lm = forced(lambda context, step: tokens[step - 10] if 0 <= step - 10 < len(tokens) else PAD)
    assert STUCK not in record(transcriber, [VOICE] * 120).kinds
    assert lm.n_contexts == 1


def test_text_without_voice_for_long_resets_the_context() -> None:
    transcriber, lm = forced(lambda context, n: PIECES[n % 40] if context == 1 and n % 3 == 0 else PAD)
    recorded = record(transcriber, [VOICE] * 10 + [0] * 120)
    assert recorded.kinds.count(STUCK) == 1
    assert lm.n_contexts == 2
    (stuck_s,) = recorded.transcript.stuck
    earliest_s = 10 * FRAME_S + lm.config.delay_s + MAX_QUIET_S
    assert earliest_s < stuck_s < earliest_s + 3 * (MAX_QUIET_TOKENS + 1) * FRAME_S


def test_a_few_words_after_a_silence_are_kept() -> None:
    detector = StuckDetector(golden().lm_config)
    results = [detector.push(Step(PIECES[n]), n_quiet=200) for n in range(MAX_QUIET_TOKENS - 1)]
    assert not any(results)
    assert not detector.push(Step(PIECES[20]), n_quiet=0), "voice"
    assert not any(detector.push(Step(PIECES[n]), n_quiet=200) for n in range(MAX_QUIET_TOKENS - 1))


def test_a_traced_recording_is_not_reset() -> None:
    transcriber, lm = forced(looping(PIECES[0]))
    assert record(transcriber, [VOICE] * 100, trace=Trace.TOKENS).transcript.stuck == []
    assert lm.n_contexts == 1


def test_the_work_per_token_is_constant() -> None:
    detector = StuckDetector(golden().lm_config)
    for n in range(1000):
        detector.push(Step(PIECES[n % 40]), 0)
    assert len(detector._tokens) == max(LOOP_REPEATS) + 1
