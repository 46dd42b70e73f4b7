"""Model configurations: frozen dataclasses read from the official `config.json` keys.

Shape letters used in every docstring of the library:

    T  frames of 80 ms          K  codebooks (n_q)        V  text tokens (text_card)
        C  channels of a conv       L  samples of a conv      S  slots of a KV cache (context)
    d  model width              H  attention heads        D  width of one head (d / H)
    h  hidden width of the feed-forward
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tympan.errors import BadModel
from tympan.protocol import FRAME_S as FRAME_S
from tympan.protocol import FRAME_SAMPLES as FRAME_SAMPLES
from tympan.protocol import SAMPLE_RATE_HZ as SAMPLE_RATE_HZ

WORD_BOUNDARY_ID = 0  # "end of padding": the next text token starts a word
FIRST_TEXT_ID = 4  # lower ids are special: 0 boundary, 1 and 2 unused, 3 padding


@dataclass(frozen=True)
class TransformerConfig:
    """A causal transformer that attends to the last `context` positions."""

    d: int
    n_layers: int
    n_heads: int
    context: int
    max_period: float

    def __post_init__(self) -> None:
        if min(self.d, self.n_layers, self.n_heads, self.context) < 1 or self.max_period <= 1:
            raise BadModel(f"a transformer of impossible size: {self}")
        if self.d % (2 * self.n_heads):
            raise BadModel(f"width {self.d} cannot be split into {self.n_heads} rotary heads")

    @property
    def head_width(self) -> int:
        return self.d // self.n_heads


@dataclass(frozen=True)
class MimiConfig:
    """The Mimi encoder.

    Source: kyutai-labs/moshi@e6a55d2 moshi/models/loaders.py.
    """

    n_filters: int
    ratios: tuple[int, ...]  # strides in encoder order: 4, 5, 6, 8
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    compress: int  # a residual block's inner width is channels / compress
    transformer: TransformerConfig
    quantizer_width: int
    n_bins: int
    n_codebooks: int  # codebooks computed: one semantic, the rest acoustic

    def __post_init__(self) -> None:
        if 2 * prod(self.ratios) != FRAME_SAMPLES:
            raise BadModel(f"Mimi strides {self.ratios} do not give frames of 80 ms")
        if min(self.n_filters, self.compress, self.n_bins, self.n_codebooks) < 1:
            raise BadModel(f"a Mimi encoder of impossible size: {self}")

    @classmethod
    def from_json(cls, mimi: Mapping[str, Any], n_codebooks: int) -> MimiConfig:
        """Read the official Mimi config.

        mimi: the parsed JSON. n_codebooks: the number of codebooks that the transformer uses.
        Raises BadModel if a key is missing, has the wrong type, or requires something that is not implemented.
        """
        with _Reading("the Mimi config"):
            seanet, transformer, quantizer = mimi["seanet"], mimi["transformer"], mimi["quantizer"]
            _expect(mimi, sample_rate=SAMPLE_RATE_HZ, channels=1, frame_rate=12.5)
            _expect(seanet, causal=True, n_residual_layers=1, activation="ELU", pad_mode="constant", true_skip=True)
            _expect(transformer, causal=True, gating="none", norm="layer_norm", positional_embedding="rope")
            _expect(transformer, d_model=seanet["dimension"])
            if not 1 <= n_codebooks <= int(quantizer["n_q"]):
                raise BadModel(
                    f"the Mimi file has {quantizer['n_q']} codebooks, the transformer asks for {n_codebooks}"
                )
            return cls(
                n_filters=int(seanet["n_filters"]),
                ratios=tuple(int(ratio) for ratio in reversed(seanet["ratios"])),
                kernel_size=int(seanet["kernel_size"]),
                residual_kernel_size=int(seanet["residual_kernel_size"]),
                last_kernel_size=int(seanet["last_kernel_size"]),
                compress=int(seanet["compress"]),
                transformer=_transformer(transformer, d="d_model", n_layers="num_layers", n_heads="num_heads"),
                quantizer_width=int(quantizer["dimension"]),
                n_bins=int(quantizer["bins"]),
                n_codebooks=n_codebooks,
            )


@dataclass(frozen=True)
class LMConfig:
    """The delayed-streams transformer. Source: kyutai-labs/moshi@e6a55d2 moshi/models/lm.py."""

    transformer: TransformerConfig
    n_codebooks: int
    card: int  # ids 0 to card - 1 are codes; id card is the initial audio token
    text_card: int  # ids 0 to text_card - 1 are pieces; id text_card is the initial text token
    padding_id: int
    delay_s: float  # how far the text lags the audio; learned by the model
    silence_prefix_s: float
    n_extra_heads: int
    extra_head_width: int

    def __post_init__(self) -> None:
        if min(self.n_codebooks, self.card, self.text_card) < 1 or min(self.n_extra_heads, self.extra_head_width) < 0:
            raise BadModel(f"a transformer of impossible size: {self}")
        if not 0 <= self.delay_s <= 30 or not 0 <= self.silence_prefix_s <= 30:
            raise BadModel(f"impossible text delay of {self.delay_s} s or silence prefix of {self.silence_prefix_s} s")

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> LMConfig:
        """Read the official `config.json` as it is published. Raises BadModel, as `MimiConfig.from_json` does.

        Every key that changes what the official model computes is read, or must have the value that is implemented.
        Other keys describe the checkpoint or the depth transformer, which speech-to-text models lack; they are ignored.
        """
        with _Reading("config.json"):
            _expect(config, causal=True, gating="silu", norm="rms_norm_f32", positional_embedding="rope")
            _expect(config, layer_scale=None, dep_q=0, model_type="stt", existing_text_end_padding_id=WORD_BOUNDARY_ID)
            _expect(config, cross_attention=False, kv_repeat=1, positional_scale=1.0, skip_self_attn=False)
            _expect(config, norm_emb=False, bias_proj=False, demux_second_text_stream=False, quantize=False)
            if any(config.get("delays") or ()):
                raise BadModel("a model with acoustic delays is not a speech-to-text model")
            if config.get("conditioners"):
                raise BadModel(f"the conditioners {', '.join(config['conditioners'])} are not supported")
            if config.get("lora_name"):
                raise BadModel("its LoRA weights are not merged into the checkpoint")
            if config.get("text_card_out") not in (None, config["text_card"]):
                raise BadModel("it outputs other text tokens than it reads")
            stt = config.get("stt_config") or {}
            return cls(
                transformer=_transformer(config, d="dim", n_layers="num_layers", n_heads="num_heads"),
                n_codebooks=int(config["n_q"]),
                card=int(config["card"]),
                text_card=int(config["text_card"]),
                padding_id=int(config.get("existing_text_padding_id", 3)),
                delay_s=float(stt.get("audio_delay_seconds", 0.5)),
                silence_prefix_s=float(stt.get("audio_silence_prefix_seconds", 0.0)),
                n_extra_heads=int(config.get("extra_heads_num_heads") or 0),
                extra_head_width=int(config.get("extra_heads_dim") or 6),
            )


class _Reading:
    """Turns the exceptions that invalid JSON values cause into BadModel with the name of the file."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError):
            raise BadModel(f"{self.what} has no key {error}") from error
        if isinstance(error, (TypeError, ValueError, AttributeError, OverflowError)):
            raise BadModel(f"{self.what} has a value of the wrong kind ({error})") from error


def _expect(config: Mapping[str, Any], **wanted: Any) -> None:
    for key, value in wanted.items():
        if key in config and config[key] != value:
            raise BadModel(f"{key} = {config[key]!r} is not supported, only {value!r}")


def _transformer(config: Mapping[str, Any], *, d: str, n_layers: str, n_heads: str) -> TransformerConfig:
    return TransformerConfig(
        d=int(config[d]),
        n_layers=int(config[n_layers]),
        n_heads=int(config[n_heads]),
        context=int(config["context"]),
        max_period=float(config["max_period"]),
    )
