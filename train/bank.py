"""The bank: utterances as int16 audio in GPU memory, and their metadata for the planning processes.

The bank has two ring buffers. `KEPT` sources (people and slow synthesizers) are loaded once; fast synthesizers stream
through the other ring, where new shards overwrite the oldest.
"""

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from . import shards
from .config import SAMPLE_RATE
from .items import KEPT, Item, Update, cut_points, source_of
from .tokens import Pieces

_MARGIN = (
    90 * SAMPLE_RATE
)  # items within this distance after the write position are not planned: they are overwritten next


class Bank:
    """Audio on the device. Sends an `Update` to every planner when its items change."""

    def __init__(self, device: torch.device, kept_hours: float, stream_hours: float, pieces: Pieces):
        kept, stream = (int(hours * 3600 * SAMPLE_RATE) for hours in (kept_hours, stream_hours))
        self.audio = torch.zeros(kept + stream, dtype=torch.int16, device=device)
        self.device, self.pieces = device, pieces
        self.rings = {True: (0, kept), False: (kept, kept + stream)}
        self.heads = {True: 0, False: kept}
        self.samples: dict[str, int] = {}  # added so far, by source
        self.seen: set[Path] = set()
        self.listeners: list[Callable[[Update], None]] = []

    def poll(self, folders: list[Path]) -> int:
        """Load the new shards under `folders` and return their number. Streamed shards are deleted once loaded."""
        new = [p for folder in folders for p in sorted(folder.rglob("*.shard")) if p not in self.seen]
        for path in new:
            self.seen.add(path)
            utterances = shards.read(path)
            self.add(utterances)
            if utterances and utterances[0].voice.partition(":")[0] not in KEPT:
                path.unlink()
        return len(new)

    def watch(self, folders: list[Path], pause_s: float = 2.0) -> None:
        """Poll `folders` from a daemon thread."""

        def loop() -> None:
            while True:
                self.poll(folders)
                time.sleep(pause_s)

        threading.Thread(target=loop, daemon=True).start()

    def add(self, utterances: list[shards.Utterance]) -> None:
        """Store the utterances of one engine, or of people of one source."""
        if not utterances:
            return
        source = source_of(utterances[0].voice)
        ring = source.partition(":")[0] in KEPT
        low, high = self.rings[ring]
        pcm = torch.cat([torch.from_numpy(u.pcm.copy()) for u in utterances])
        if ring and self.heads[ring] + len(pcm) > high:
            print(f"the bank is full: {source} loses {len(pcm) / SAMPLE_RATE / 60:.1f} minutes", flush=True)
            return
        begin = self.heads[ring] if self.heads[ring] + len(pcm) <= high else low
        end = begin + len(pcm)
        self.heads[ring] = end
        offsets = itertools.accumulate((len(u.pcm) for u in utterances), initial=begin)
        items = [
            Item(
                offset, len(u.pcm), u.label, u.starts, cut_points(u.pcm, u.starts),
                [self.pieces.encode(w) for w in u.label.split()], u.voice,
            )
            for offset, u in zip(offsets, utterances, strict=False)
        ]  # fmt: skip
        if not ring:
            for listener in self.listeners:  # planners drop the items before the audio changes
                listener(Update(source, [], begin, end + _MARGIN))
        self.audio[begin:end].copy_(pcm.pin_memory() if self.device.type == "cuda" else pcm)
        for listener in self.listeners:
            listener(Update(source, items, 0, 0))
        self.samples[source] = self.samples.get(source, 0) + len(pcm)

    def hours(self) -> dict[str, float]:
        """Hours loaded so far, by source (streamed sources: including what was overwritten)."""
        return {source: round(n / SAMPLE_RATE / 3600, 2) for source, n in self.samples.items()}
