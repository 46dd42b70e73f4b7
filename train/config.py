"""The sizes of the model, and shared constants."""

from dataclasses import asdict, dataclass

from .text import LABEL_CHARS

SAMPLE_RATE, FRAME = 24_000, 1920
PAD_TOKEN, WORD_TOKEN = 3, 0  # padding; the id before the pieces of a word
CTC_CLASSES = len(LABEL_CHARS) + 1  # 0 is the blank
MEL_BANDS = 64
TEACHER_WIDTH = 512  # of Whisper-base


@dataclass(frozen=True)
class Config:
    """The sizes of the model. `mimi_*` and `lm_*` are part of the exported configs."""

    filters: int = 24
    ratios: tuple[int, ...] = (4, 5, 6, 8)  # in encoder order; the official config lists them reversed
    mimi_dim: int = 320
    mimi_layers: int = 6
    mimi_heads: int = 5
    mimi_ff: int = 1024
    mimi_context: int = 100  # at 25 Hz
    mimi_dropout: float = 0.1
    codebook_dim: int = 64
    codebooks: int = 12
    codebook_size: int = 512
    lm_dim: int = 384
    lm_layers: int = 8
    lm_heads: int = 6
    lm_hidden_scale: float = 4.003  # makes the hidden size 1024, a multiple of the Q4 block
    lm_context: int = 125  # at 12.5 Hz
    lm_max_period: int = 10_000
    text_card: int = 2000
    delay: int = 12  # frames between a word's start and its announcement: 0.96 s
    prefix: int = 0  # frames of silence before a recording: any more harmed more than it helped
    head: int = 384  # width of the training heads

    def as_dict(self) -> dict:
        return asdict(self)


TINY = Config(
    filters=8, mimi_dim=64, mimi_layers=1, mimi_heads=2, mimi_ff=128, codebook_dim=32, codebook_size=64, lm_dim=64,
    lm_layers=1, lm_heads=2, lm_hidden_scale=4.5,
)  # fmt: skip
