"""Pauses, ends of turns and the VAD, with a fake model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.app.fake_model import (
    PAD,
    THREE_SENTENCES,
    TOKENIZER,
    VOICE,
    audio,
    heads_of,
    record,
    sentence,
    transcriber,
)
from tests.app.golden import golden
from tests.awaiting import run
from tympan.arrays import Float32
from tympan.config import FRAME_S, FRAME_SAMPLES
from tympan.endpointing import LONG_SILENCE_S, MUTE_FRAMES, EnergyVAD, TurnDetector, TurnKind
from tympan.lm.backend import Step
from tympan.lm.reference import Reference
from tympan.transcriber import Transcriber

SPEECH, PAUSE, END, MUTE = TurnKind.SPEECH, TurnKind.PAUSE, TurnKind.END, TurnKind.MUTE


def test_pauses_and_ends_of_turns_by_energy() -> None:
    recorded = record(transcriber()[0], THREE_SENTENCES)
    assert recorded.kinds == [SPEECH, PAUSE, PAUSE, END, SPEECH, PAUSE, END], "a short pause ends no turn"
    assert [turn.seconds for turn in recorded.turns] == sorted(turn.seconds for turn in recorded.turns)


def test_ends_of_turns_by_the_heads() -> None:
    recorded = record(transcriber(n_heads=4, heads=heads_of)[0], THREE_SENTENCES)
    assert recorded.kinds == [SPEECH, PAUSE, PAUSE, END, SPEECH, PAUSE, END], "each turn ends once"


def test_turns_end_where_the_official_heads_and_silence_agree() -> None:
    """The rule applied to the official outputs of the golden checkpoint, whose heads are random."""
    heads = golden().expected["primed_extra_heads"]
    pcm = np.concatenate([golden().pcm[: 30 * FRAME_SAMPLES], np.zeros(45 * FRAME_SAMPLES, np.float32)])
    vad, n_voice, n_silent, expected = EnergyVAD(), 0, 0, 0
    for n, frame in enumerate(pcm.reshape(-1, FRAME_SAMPLES), start=1):
        has_voice = vad(frame)
        n_voice, n_silent = n_voice + has_voice, 0 if has_voice else n_silent + 1
        if n_voice and n_silent >= 5 and (heads[n, 2, 0] > 0.5 or n_silent * FRAME_S >= LONG_SILENCE_S):
            expected = n
            break
    assert expected

    async def end() -> int:
        official = Transcriber(golden().mimi, Reference(golden().lm_config, golden().lm_weights), TOKENIZER)
        detector, n = TurnDetector(golden().lm_config, silence_s=0.4), 0
        async for result in official.stream().steps(pcm):
            n += 1
            heads_now = Step(PAD, extra_heads=heads[n])
            if END in detector.push(result.frame, heads_now):
                break
        return n

    assert run(end()) == expected


def test_too_few_heads_are_ignored() -> None:
    recorded = record(transcriber(n_heads=2, heads=lambda codes: heads_of(codes)[:2])[0], THREE_SENTENCES)
    assert recorded.kinds.count(END) == 2


def test_turns_end_after_3_s_of_quiet_if_the_heads_do_not_respond() -> None:
    silent_heads = np.full((4, 6), 1 / 6, np.float32)
    codes = [0] * 10 + sentence(1, 2, n_quiet=60)
    recorded = record(transcriber(n_heads=4, heads=lambda codes: silent_heads)[0], codes)
    assert recorded.kinds == [SPEECH, PAUSE, END]
    end_s = [turn.seconds for turn in recorded.turns if turn.kind is END]
    assert end_s == [pytest.approx(16 * FRAME_S + LONG_SILENCE_S, abs=FRAME_S)]


def test_heads_are_ignored_at_the_start() -> None:
    always = np.full((4, 6), 0.9, np.float32)
    fake = transcriber(n_heads=4, heads=lambda codes: always)[0]
    recorded = record(fake, sentence(1, n_quiet=20), silence_s=0.4)
    assert [turn.seconds for turn in recorded.turns if turn.kind is END] == [pytest.approx(13 * FRAME_S)]


def test_speech_without_words_is_reported_and_resets_the_context() -> None:
    fake, lm = transcriber(is_mute=True)
    recorded = record(fake, [0] * 5 + ([VOICE] * 20 + [0]) * 24)
    assert recorded.kinds.count(MUTE) == 3, "every 10 s of voice"
    assert len(lm.states) == 2, "once, after 30 s"
    assert MUTE not in record(transcriber()[0], [0] * 5 + sentence(*[1] * MUTE_FRAMES)).kinds


def test_a_file_reports_only_mute_events() -> None:
    assert record(transcriber()[0], THREE_SENTENCES, live=False).kinds == []
    assert record(transcriber(is_mute=True)[0], ([VOICE] * 20 + [0]) * 9, live=False).kinds == [MUTE]


def test_a_click_does_not_start_a_turn() -> None:
    detector = TurnDetector(replace(golden().lm_config, n_extra_heads=0))
    codes = [0] * 10 + [VOICE] + [0] * 40
    kinds = [k for frame in audio(codes).reshape(-1, FRAME_SAMPLES) for k in detector.push(frame, None)]
    assert kinds == []


def noise(rng: np.random.Generator, level_db: float, n_frames: int) -> list[Float32]:
    amplitude = 10 ** (level_db / 20)
    return [(amplitude * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32) for _ in range(n_frames)]


@pytest.mark.parametrize(("room_db", "voice_db"), [(-100, -45), (-70, -35), (-60, -30), (-45, -20), (-30, -8)])
def test_the_vad_distinguishes_voice_from_room_noise(room_db: float, voice_db: float) -> None:
    rng = np.random.default_rng(0)
    vad = EnergyVAD()
    for frame in noise(rng, room_db, 80):
        vad(frame)
    assert not any(vad(frame) for frame in noise(rng, room_db, 40))
    assert all(vad(frame) for frame in noise(rng, voice_db, 10))
    assert not any(vad(frame) for frame in noise(rng, room_db, 40))


def test_the_vad_detects_voice_in_the_first_frame_and_adapts_to_a_hum() -> None:
    rng = np.random.default_rng(0)
    vad = EnergyVAD()
    assert vad(noise(rng, -30, 1)[0])
    hum = [vad(frame) for frame in noise(rng, -40, 250)]
    assert not any(hum[200:])
