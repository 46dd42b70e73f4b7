"""A teacher for Mimi's encoder: the features of whisper-base's encoder.

    python -m train.teacher MODEL_BIN DEST

turns the `model.bin` that whisper.py reads into DEST, an .npz of its encoder with matrices in 8 bits. The teacher gets
the clean clip; the student, which gets it distorted and causally, learns to predict the teacher's features.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .config import TEACHER_WIDTH as WIDTH
from .whisper import Whisper, read_ctranslate2

_SCALE = "/scale"


class Teacher(Whisper):
    """Whisper's encoder without a padding to 30 seconds."""

    def __init__(self, path: Path):
        stored = dict(np.load(path))
        super().__init__(
            {
                f"encoder/{name}": array * stored.get(name + _SCALE, np.float32(1)).astype(np.float32)
                for name, array in stored.items()
                if not name.endswith(_SCALE)
            }
        )

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """(B, L) at 24 kHz -> (B, L / 960, 512), every feature of zero mean and unit variance over the batch.

        Otherwise a tenth of the features would hold most of the variance.
        """
        with torch.autocast(wave.device.type, enabled=False):
            x = self.encode(self.log_mel(wave)).float()
            x = F.layer_norm(x.unflatten(1, (-1, 2)).mean(2), (WIDTH,))
            return (x - x.mean((0, 1))) / (x.std((0, 1)) + 1e-3)


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
