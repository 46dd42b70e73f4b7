"""The official config.json: read as it is published, and refused where it asks for something not implemented."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tympan.config import LMConfig, TransformerConfig
from tympan.errors import BadModel

# As published in kyutai/stt-2.6b-en at revision a07aec56d22be5589cd0bc8709c75b6cf3e3039d.
PUBLISHED = Path(__file__).parents[1] / "golden" / "published" / "stt-2.6b-en.config.json"
PUBLISHED_SHA256 = "b79ea52a30329887a2d0ce2dd5473a63fc5083e441e7986f64f01050c06239c9"


def published(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(PUBLISHED.read_text())
    return config | changes


def test_published_config_of_stt_2_6b_en() -> None:
    assert hashlib.sha256(PUBLISHED.read_bytes()).hexdigest() == PUBLISHED_SHA256
    assert LMConfig.from_json(published()) == LMConfig(
        transformer=TransformerConfig(d=2048, n_layers=48, n_heads=32, context=375, max_period=100_000),
        n_codebooks=32,
        card=2048,
        text_card=4000,
        padding_id=3,
        delay_s=2.5,
        silence_prefix_s=1.0,
        n_extra_heads=0,
        extra_head_width=6,
    )


def test_pause_heads_and_keys_without_a_meaning_here() -> None:
    config = published(extra_heads_num_heads=4, extra_heads_dim=6, asr_delay_in_tokens=6, fuser={}, tts_config=None)
    assert LMConfig.from_json(config).n_extra_heads == 4
    assert LMConfig.from_json(published(conditioners=None, extra_heads_num_heads=None, stt_config=None)).delay_s == 0.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conditioners": {"description": {"type": "lut"}}}, "the conditioners description are not supported"),
        ({"cross_attention": True}, "cross_attention = True is not supported"),
        ({"kv_repeat": 2}, "kv_repeat = 2 is not supported, only 1"),
        ({"delays": [0, 1]}, "acoustic delays"),
        ({"model_type": "tts"}, "model_type = 'tts' is not supported"),
        ({"dep_q": 8}, "dep_q = 8 is not supported"),
        ({"existing_text_end_padding_id": 1}, "existing_text_end_padding_id = 1"),
        ({"lora_name": "lora.safetensors"}, "LoRA"),
        ({"text_card_out": 5}, "other text tokens"),
        ({"num_layers": None}, "a value of the wrong kind"),
        ({"stt_config": {"audio_delay_seconds": -1}}, "impossible text delay"),
    ],
)
def test_what_is_not_implemented_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        LMConfig.from_json(published(**changes))
