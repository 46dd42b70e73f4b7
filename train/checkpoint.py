"""Checkpoints in files of at most 14 MiB: f16 matrices, f32 vectors and codebooks, and the position in the schedule.

The optimizer's moments are not saved: they would double the size, and a resumed run recovers them during its warm-up.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from .config import Config
from .lm import Lm
from .mimi import Mimi

PIECE_BYTES = 14 << 20


def save(folder: Path, mimi: Mimi, lm: Lm, state: dict) -> None:
    """Write `state.json` (config, progress) and `piece-N.pt` atomically."""
    tensors = {"mimi." + k: v for k, v in mimi.state_dict().items()} | {
        "lm." + k: v for k, v in lm.state_dict().items()
    }
    pieces: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        keep = "_codebook" in name or value.dim() < 2 or not value.is_floating_point()
        value = value.detach().cpu() if keep else value.detach().to(torch.float16).cpu()
        size += value.numel() * value.element_size()
        if size > PIECE_BYTES:
            pieces.append({})
            size = value.numel() * value.element_size()
        pieces[-1][name] = value
    partial = folder.with_name(folder.name + ".part")
    partial.mkdir(parents=True, exist_ok=True)
    for old in partial.iterdir():
        old.unlink()
    for i, piece in enumerate(pieces):
        torch.save(piece, partial / f"piece-{i}.pt")
    (partial / "state.json").write_text(json.dumps({"pieces": len(pieces), **state}))
    stale = folder.with_name(folder.name + ".old")
    if folder.exists():
        os.rename(folder, stale)
    os.rename(partial, folder)
    if stale.exists():
        for old in stale.iterdir():
            old.unlink()
        stale.rmdir()


def load_state(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Read the state and the tensors of a checkpoint."""
    state = json.loads((folder / "state.json").read_text())
    tensors: dict[str, Tensor] = {}
    for i in range(state["pieces"]):
        tensors |= torch.load(folder / f"piece-{i}.pt", map_location="cpu", weights_only=True)
    return state, tensors


def load_into(module: torch.nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    module.load_state_dict({k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)})


def config_of(state: dict) -> Config:
    return Config(**state["config"] | {"ratios": tuple(state["config"]["ratios"])})


def load_models(folder: Path, device: torch.device) -> tuple[Mimi, Lm | None, dict]:
    """Load both networks of a checkpoint, ready for evaluation; the LM is None before its training began."""
    state, tensors = load_state(folder)
    config = config_of(state)
    mimi, lm = Mimi(config), Lm(config, dropout=0.0)
    load_into(mimi, "mimi.", tensors)
    load_into(lm, "lm.", tensors)
    if not state["frozen"]:
        lm.freeze_audio(mimi)
    return mimi.to(device).eval(), lm.to(device).eval() if state["lm_started"] else None, state
