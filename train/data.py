"""Batches: utterances of all voices in GPU memory, packed into long clips, and roughened so that no two look alike.

People do not sound like synthesizers. So each batch is drawn anew: another speed (which moves pitch and formants),
equalizer, room, band, noise, babble, gain and codec; see `roughen`.
"""

import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from . import shards
from .config import FRAME, MEL_BANDS, PAD_TOKEN, SAMPLE_RATE, WORD_TOKEN
from .text import LABEL_CHARS

_CLASS = {c: i + 1 for i, c in enumerate(LABEL_CHARS)}
_SLOTS = 16  # utterances a clip, at most

PEOPLE_SHARE = 0.58  # of the clips are spoken by people, the others by engines
ENGINE_SHARES = {"kokoro": 0.46, "hibari": 0.28, "piper": 0.06, "flite": 0.12, "espeak": 0.08}
# Within people, by the first letters of the voice: sources with few speakers are heard less than their hours.
PEOPLE_SHARES = {"cv": 0.52, "so": 0.18, "ls": 0.16, "lj": 0.06, "cathy": 0.04, "sc": 0.04}
_ONE_VOICE = 0.5  # of the clips of people are by one speaker


class Bank:
    """Int16 audio on the device in two rings: one that slow engines fill once (`KEPT`), one through which fast
    engines stream.

    A full ring pushes out its oldest utterances. `watch` fills the bank from a thread while training goes on.
    """

    KEPT = ("kokoro", "piper", "human")

    def __init__(self, device: torch.device, hours: float, pieces: "Pieces"):
        samples = int(hours * 3600 * SAMPLE_RATE)
        self.audio = torch.zeros(samples, dtype=torch.int16, device=device)
        self.device, self.pieces = device, pieces
        split = samples * 2 // 5
        self.rings = {True: (0, split), False: (split, samples)}
        self.heads = {True: 0, False: split}
        # (offset, samples, label, starts, word tokens, voice), oldest first
        self.by_engine: dict[str, list[tuple]] = {}
        self.by_voice: dict[str, list[tuple]] = {}  # of people
        self.seen: set[Path] = set()

    def poll(self, folder: Path, limit: int = 10**6) -> int:
        """Take in up to `limit` new shards under `folder`; returns how many. Streamed ones are deleted once read."""
        new = [p for p in sorted(folder.rglob("*.shard")) if p not in self.seen][:limit]
        for path in new:
            self.seen.add(path)
            utterances = shards.read(path)
            self.add(utterances)
            if utterances and utterances[0].voice.partition(":")[0] not in self.KEPT:
                path.unlink()
        return len(new)

    def watch(self, folder: Path, pause: float = 2.0) -> None:
        """Poll `folder` for ever, in a thread of its own."""

        def loop() -> None:
            while True:
                self.poll(folder)
                time.sleep(pause)

        threading.Thread(target=loop, daemon=True).start()

    def add(self, utterances: list[shards.Utterance]) -> None:
        """Store the utterances of one engine."""
        if not utterances:
            return
        pcm = torch.cat([torch.from_numpy(u.pcm.copy()) for u in utterances])
        engine, _, voice = utterances[0].voice.partition(":")
        kept = engine in self.KEPT
        if engine == "human":  # a shard of people holds one source
            engine = "human:" + next(s for s in PEOPLE_SHARES if voice.startswith(s))
        low, high = self.rings[kept]
        begin = self.heads[kept] if self.heads[kept] + len(pcm) <= high else low
        end = begin + len(pcm)
        self.heads[kept] = end
        for name, items in self.by_engine.items():
            if (name.partition(":")[0] in self.KEPT) == kept:
                self.by_engine[name] = [i for i in items if i[0] >= end or i[0] + i[1] <= begin]
        self.audio[begin:end] = pcm.to(self.device)
        offset, new = begin, []
        for u in utterances:
            tokens = [self.pieces.encode(w) for w in u.label.split()]
            item = (offset, len(u.pcm), u.label, u.starts, tokens, u.voice)
            new.append(item)
            if engine.startswith("human"):
                self.by_voice.setdefault(u.voice, []).append(item)
            offset += len(u.pcm)
        self.by_engine[engine] = self.by_engine.get(engine, []) + new

    def hours(self) -> dict[str, float]:
        return {e: round(sum(i[1] for i in items) / SAMPLE_RATE / 3600, 2) for e, items in self.by_engine.items()}

    def draw(self, rng: random.Random, people: bool, voice: str | None = None) -> tuple:
        """One utterance: of `voice`, or first the source by its share, then uniformly, newer ones a little more."""
        if voice is not None:
            return rng.choice(self.by_voice[voice])
        sources = [s for s, items in list(self.by_engine.items()) if items and s.startswith("human") == people]
        if not sources:
            return self.draw(rng, not people)
        shares = [PEOPLE_SHARES.get(s[6:], 0) if people else ENGINE_SHARES.get(s, 0.1) for s in sources]
        items = self.by_engine[rng.choices(sources, shares)[0]]
        index = rng.randrange(len(items))
        return items[max(index, rng.randrange(len(items)))] if rng.random() < 0.3 and not people else items[index]


class Pieces:
    """Word pieces of a SentencePiece model, cached."""

    def __init__(self, path: Path):
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return self.model.get_piece_size()

    def encode(self, word: str) -> list[int]:
        if word not in self.cache:
            self.cache[word] = self.model.encode(word)
        return self.cache[word]

    def decode(self, tokens: list[int]) -> tuple[str, list[float]]:
        """Text and word starts of a token stream (B-less). Index i of the stream announces a word that began at frame
        i + 1 - delay; the caller subtracts the delay."""
        words, starts = [], []
        for index, token in enumerate(tokens):
            if token == WORD_TOKEN:
                words.append("")
                starts.append((index + 1) * FRAME / SAMPLE_RATE)
            elif token > PAD_TOKEN:
                piece = self.model.id_to_piece(token)
                if not words or (piece.startswith("\u2581") and words[-1]):
                    words.append("")
                    starts.append((index + 1) * FRAME / SAMPLE_RATE)
                words[-1] += piece.replace("\u2581", "")
        kept = [(w, s) for w, s in zip(words, starts, strict=True) if w]
        return " ".join(w for w, _ in kept), [s for _, s in kept]


@dataclass
class Batch:
    """wave (B, L) float32; tokens (B, S + 1) the text stream; characters (B, n) CTC targets of `lengths` (B,);
    labels."""

    wave: Tensor
    tokens: Tensor
    characters: Tensor
    lengths: Tensor
    labels: list[str]


def text_stream(words: list[tuple[float, list[int]]], steps: int, delay: int) -> list[int]:
    """The token of every step: a word that starts in frame f has WORD_TOKEN at step f + delay - 1 and its pieces
    after it, later when the word before it still needs the step."""
    stream, free = [PAD_TOKEN] * steps, 0
    for start, pieces in words:
        step = max(free, int(start * SAMPLE_RATE / FRAME) + delay - 1)
        for token in (WORD_TOKEN, *pieces):
            if step < steps:
                stream[step] = token
            step += 1
        free = step
    return stream


def make_batch(bank: Bank, rng: random.Random, size: int, seconds: float, delay: int, rough: bool = True) -> Batch:
    """Pack random utterances, with pauses, into `size` clips of `seconds`."""
    length = int(seconds * SAMPLE_RATE) // FRAME * FRAME
    steps = length // FRAME + 1
    begin = [[length] * _SLOTS for _ in range(size)]
    source = [[0] * _SLOTS for _ in range(size)]
    samples = [[1] * _SLOTS for _ in range(size)]
    speed = [[1.0] * _SLOTS for _ in range(size)]
    gain = [[1.0] * _SLOTS for _ in range(size)]
    labels, streams = [], []
    for row in range(size):
        at, words, spoken = int(rng.uniform(0, 0.8) * SAMPLE_RATE), [], []
        slots = rng.randint(0, 1) if rng.random() < 0.06 else _SLOTS  # now and then (almost) nothing is said
        pace = math.exp(rng.gauss(0, 0.1))
        people, voice = rng.random() < PEOPLE_SHARE, None
        slot = misses = 0
        while slot < slots and misses < 3:
            offset, count, label, starts, pieces, spoken_by = bank.draw(rng, people, voice)
            if slot == 0 and people and spoken_by in bank.by_voice and rng.random() < _ONE_VOICE:
                voice = spoken_by if len(bank.by_voice[spoken_by]) > 3 else None
            rate = min(1.28, max(0.78, pace * math.exp(rng.gauss(0, 0.03)))) if rough else 1.0
            if at + count / rate > length - 0.25 * SAMPLE_RATE:
                misses += 1
                continue
            begin[row][slot], source[row][slot], samples[row][slot], speed[row][slot] = at, offset, count, rate
            gain[row][slot] = rng.uniform(0.5, 1.0)
            words += [(at / SAMPLE_RATE + s / rate, p) for s, p in zip(starts, pieces, strict=True)]
            spoken.append(label)
            pause = rng.uniform(0.0, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 1.6)
            at += int(count / rate + pause * SAMPLE_RATE)
            slot += 1
        labels.append(" ".join(spoken))
        streams.append(text_stream(words, steps, delay))
    to = lambda x, dtype: torch.tensor(x, dtype=dtype).to(bank.device, non_blocking=True)  # noqa: E731
    wave = _render(bank.audio, length, to(begin, torch.int32), to(source, torch.int64), to(samples, torch.int32),
                   to(speed, torch.float32), to(gain, torch.float32))  # fmt: skip
    width = max(1, *map(len, labels))
    characters = [[_CLASS[c] for c in x] + [0] * (width - len(x)) for x in labels]
    lengths = to([len(x) for x in labels], torch.int64)
    return Batch(wave, to(streams, torch.int64), to(characters, torch.int64), lengths, labels)


def _render(
    audio: Tensor, length: int, begin: Tensor, source: Tensor, samples: Tensor, speed: Tensor, gain: Tensor
) -> Tensor:
    """Lay utterances side by side, each resampled by its speed with linear interpolation: (B, slots) plans -> (B,
    length)."""
    time = torch.arange(length, device=audio.device, dtype=torch.int32).expand(len(begin), length).contiguous()
    slot = (torch.searchsorted(begin, time, right=True) - 1).clamp_(min=0)
    position = (time - begin.gather(1, slot)).float() * speed.gather(1, slot)
    last = samples.gather(1, slot) - 2
    inside = (position >= 0) & (position <= last)
    whole = torch.minimum(position.int().clamp_(min=0), last.clamp(min=0))
    index = source.gather(1, slot) + whole
    fraction = position - whole
    value = torch.lerp(audio[index].float(), audio[index + 1].float(), fraction.clamp_(0, 1))
    return torch.where(inside, value * gain.gather(1, slot) / 32768, 0.0)


def roughen(x: Tensor, rng: random.Random) -> Tensor:
    """Random equalizer, band limits, room, noise, music, babble, gain, clipping and mu-law: (B, L) -> (B, L)."""
    batch, length = x.shape
    device = x.device
    size = 1 << (length + SAMPLE_RATE // 4 - 1).bit_length()
    freq = torch.linspace(0, SAMPLE_RATE / 2, size // 2 + 1, device=device)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, device=device)

    def chance(p: float) -> Tensor:
        return torch.rand(batch, 1, device=device) < p

    def decibel(db: Tensor) -> Tensor:
        return torch.pow(10.0, db / 20)

    # Equalizer: ten random points, up to +-9 dB, on an almost logarithmic frequency axis; then high and low pass, and
    # now and then a band taken out.
    points = (torch.rand(batch, 10, device=device) * 2 - 1) * 9 * chance(0.8)
    axis = torch.log1p(freq / 300) / math.log1p(SAMPLE_RATE / 600) * 8.999
    left = axis.long()
    response = decibel(torch.lerp(points[:, left], points[:, left + 1], (axis - left).expand(batch, -1)))
    cut = torch.where(chance(0.4), uniform(3000, 9000), torch.full((batch, 1), 20_000.0, device=device))
    response = response / (1 + (freq / cut).pow(16).clamp(max=1e6))
    ratio = (freq / torch.where(chance(0.4), uniform(60, 320), torch.full((batch, 1), 20.0, device=device))).pow(4)
    response = response * ratio / (1 + ratio)
    notch, width = uniform(0.5, 8.5), uniform(0.1, 0.9)
    response = torch.where(((axis - notch).abs() < width / 2) & chance(0.4), 0.03 * response, response)
    # Room: exponentially decaying noise after the direct sound.
    taps = torch.arange(SAMPLE_RATE // 4, device=device) / SAMPLE_RATE
    tail = torch.randn(batch, len(taps), device=device) * torch.exp(-6.9 * taps / uniform(0.08, 0.6))
    tail = tail * (taps > uniform(0.002, 0.012))
    tail = tail / (tail.norm(dim=1, keepdim=True) + 1e-6) * decibel(uniform(-20, 1)) * chance(0.6)
    tail[:, 0] += 1
    x = torch.fft.irfft(torch.fft.rfft(x, size) * response * torch.fft.rfft(tail, size), size)[:, :length]
    level = x.square().mean(1, keepdim=True).sqrt()
    spoken = level > 1e-3
    level = torch.where(spoken, level, uniform(0.003, 0.1))
    # Coloured noise, with strokes as of a keyboard; tones as of music, or hum; and babble made of the other clips.
    strokes = (torch.rand(batch, size, device=device) < 2e-4) & chance(0.2)
    noise = torch.randn(batch, size, device=device) * torch.where(strokes, 80.0, 1.0)
    noise = torch.fft.rfft(noise) * (freq + 40).pow(-uniform(0, 1.2))
    noise = torch.fft.irfft(noise, size)[:, :length]
    noise = noise / (noise.square().mean(1, keepdim=True).sqrt() + 1e-6)
    babble = sum(x.roll(j, 0).roll(rng.randrange(length), 1) for j in (1, 2, 3))
    x = x + noise * level * decibel(-uniform(5, 45)) * chance(0.85)
    x = x + music(batch, length, device) * level * decibel(-uniform(5, 30)) * chance(0.2)
    x = x + babble * decibel(-uniform(8, 30)) * (chance(0.25) & spoken)
    # Gain; some clips clip; some pass a telephone's mu-law.
    peak = decibel(-uniform(2, 36))
    x = x / (x.abs().amax(1, keepdim=True) + 1e-4) * peak
    x = torch.where(chance(0.06), x.clamp(-0.5 * peak, 0.5 * peak), x)
    law = torch.sign(x) * torch.round(torch.log1p(255 * x.abs()) / math.log(256) * 127) / 127
    return torch.where(chance(0.1), torch.sign(law) * (torch.pow(256.0, law.abs()) - 1) / 255, x)


def music(batch: int, length: int, device: torch.device, voices: int = 3, notes: int = 40) -> Tensor:
    """Random chords, one in four of them a mains hum: (batch, length) of about unit power."""
    hum = torch.rand(batch, 1, 1, device=device) < 0.25
    pitch = 55 * torch.pow(2.0, torch.randint(0, 49, (batch, voices, notes), device=device) / 12)
    pitch = torch.where(hum, 50.0 + 10 * torch.randint(0, 2, (batch, 1, 1), device=device), pitch)
    per_note = -(-length // notes)
    time = torch.arange(per_note, device=device) / SAMPLE_RATE
    decay = torch.exp(-time * torch.where(hum, 0.0, 4 * torch.rand(batch, 1, 1, device=device)))
    out = torch.zeros(batch, notes, per_note, device=device)
    for voice in range(voices):
        for harmonic in (1, 2, 3, 5):
            phase = (2 * math.pi * harmonic) * pitch[:, voice, :, None] * time
            out += torch.sin(phase) / harmonic
    out = (out * decay).flatten(1)[:, :length]
    return out / (out.square().mean(1, keepdim=True).sqrt() + 1e-6)


def prefetch(make: Callable[[], Batch], depth: int = 3) -> Iterator[Batch]:
    """Batches that a thread plans ahead."""
    waiting: queue.Queue[Batch] = queue.Queue(depth)

    def loop() -> None:
        while True:
            waiting.put(make())

    threading.Thread(target=loop, daemon=True).start()
    while True:
        yield waiting.get()


class LogMel:
    """Log-mel at 100 Hz, normalized a clip: the target of Mimi's second head."""

    def __init__(self, device: torch.device):
        freq = torch.linspace(0, SAMPLE_RATE / 2, 513)
        mel = 2595 * torch.log10(1 + freq / 700)
        edges = torch.linspace(float(mel[3]), 2595 * math.log10(1 + 8000 / 700), MEL_BANDS + 2)
        rise = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
        self.filters = torch.minimum(rise, fall).clamp(min=0).to(device)
        self.window = torch.hann_window(1024, device=device)

    def __call__(self, wave: Tensor) -> Tensor:
        """(B, L) -> (B, L / 240, bands)"""
        spectrum = torch.stft(wave, 1024, 240, window=self.window, return_complex=True).abs()
        mel = torch.log(spectrum[:, :, : wave.shape[1] // 240].transpose(1, 2) @ self.filters + 1e-4)
        return (mel - mel.mean((1, 2), keepdim=True)) / 3


def clips(utterances: list[shards.Utterance], lead: float = 0.3, tail: float = 1.0) -> tuple[Tensor, list[int]]:
    """Utterances alone, one a row, for evaluation: (n, L) float32 and the row's true frames."""
    lengths = [math.ceil((lead + tail + len(u.pcm) / SAMPLE_RATE) * SAMPLE_RATE / FRAME) for u in utterances]
    wave = torch.zeros(len(utterances), max(lengths) * FRAME)
    for row, u in enumerate(utterances):
        begin = int(lead * SAMPLE_RATE)
        wave[row, begin : begin + len(u.pcm)] = torch.from_numpy(u.pcm.copy()).float() / 32768
    return wave, lengths


def ctc_loss(log_probs: Tensor, batch: Batch) -> Tensor:
    """Mean CTC loss a character; log_probs (B, n, classes)."""
    lengths = torch.full_like(batch.lengths, log_probs.shape[1])
    total = F.ctc_loss(
        log_probs.transpose(0, 1), batch.characters, lengths, batch.lengths, reduction="sum", zero_infinity=True
    )
    return total / batch.lengths.sum().clamp(min=1)
