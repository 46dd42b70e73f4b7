"""Turns plans into audio on the GPU: joins pieces of utterances, then distorts them at random.

Every batch gets new random speeds (which move pitch and formants), equalizers, rooms, bands, noise, music, babble,
gains and codecs.
"""

import math
import random

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .config import SAMPLE_RATE

_FADE = 120  # samples over which a piece fades in and out
_ROOM = SAMPLE_RATE // 4  # longest impulse response, samples
_FFT = 1024  # of the formant shift
_ENVELOPE = 21  # bins over which its envelope is smoothed
_STROKE_HOP = SAMPLE_RATE // 200
# Content of clips without speech: (silence, noise, keystrokes, music, hum, all of these as under speech).
_SILENT_KINDS = 6


def render(
    audio: Tensor, length: int, begin: Tensor, source: Tensor, samples: Tensor, speed: Tensor, gain: Tensor
) -> Tensor:
    """Lay pieces of `audio` side by side, each resampled by its speed with linear interpolation.

    Args:
        audio: int16, the bank.
        begin, samples: (B, slots) int32; begin ascends, unused slots begin at `length`.
        source: (B, slots) int64, first sample in the bank.
        speed, gain: (B, slots) float32.

    Returns:
        (B, length) float32.
    """
    time = torch.arange(length, device=audio.device, dtype=torch.int32).expand(len(begin), length).contiguous()
    slot = (torch.searchsorted(begin, time, right=True) - 1).clamp(min=0)
    position = (time - begin.gather(1, slot)).float() * speed.gather(1, slot)
    last = (samples.gather(1, slot) - 2).float()
    fade = (torch.minimum(position, last - position) / _FADE).clamp(0, 1)
    whole = torch.minimum(position.clamp(min=0), last.clamp(min=0)).int()
    index = source.gather(1, slot) + whole
    fraction = (position - whole).clamp(0, 1)
    value = torch.lerp(audio[index].float(), audio[index + 1].float(), fraction)
    return value * fade * gain.gather(1, slot) / 32768


def _decibel(db: Tensor) -> Tensor:
    return torch.pow(10.0, db / 20)


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """Return (B, 1), a random number for each clip of x."""
    return low + (high - low) * torch.rand(len(x), 1, device=x.device)


def _chance(x: Tensor, p: float) -> Tensor:
    """Return (B, 1) bool, true with this probability."""
    return torch.rand(len(x), 1, device=x.device) < p


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True).sqrt() + 1e-6)


def response(x: Tensor, freq: Tensor) -> Tensor:
    """Return a random equalizer (B, n_freq): ten points within 9 dB, high pass, low pass, up to two missing bands."""
    points = (torch.rand(len(x), 10, device=x.device) * 2 - 1) * 9 * _chance(x, 0.8)
    axis = torch.log1p(freq / 300) / math.log1p(SAMPLE_RATE / 600) * 8.999
    left = axis.long()
    out = _decibel(torch.lerp(points[:, left], points[:, left + 1], (axis - left).expand(len(x), -1)))
    cut = torch.where(_chance(x, 0.4), _uniform(x, 3000, 9000), 20_000.0)
    out = out / (1 + (freq / cut).pow(16).clamp(max=1e6))
    ratio = (freq / torch.where(_chance(x, 0.4), _uniform(x, 60, 320), 20.0)).pow(4)
    out = out * ratio / (1 + ratio)
    for p in (0.4, 0.15):
        notch, width = _uniform(x, 0.5, 8.5), _uniform(x, 0.1, 0.9)
        out = torch.where(((axis - notch).abs() < width / 2) & _chance(x, p), 0.03 * out, out)
    return out


def room(x: Tensor) -> Tensor:
    """Return (B, _ROOM): an impulse response of the direct sound and exponentially decaying noise."""
    time = torch.arange(_ROOM, device=x.device) / SAMPLE_RATE
    tail = torch.randn(len(x), _ROOM, device=x.device) * torch.exp(-6.9 * time / _uniform(x, 0.08, 0.6))
    tail = tail * (time > _uniform(x, 0.002, 0.012))
    tail = tail / (tail.norm(dim=1, keepdim=True) + 1e-6) * _decibel(_uniform(x, -20, 1)) * _chance(x, 0.6)
    return tail + (time == 0)


def strokes(x: Tensor) -> Tensor:
    """Return (B, L) of unit power: bursts of noise of 5 to 20 ms, one to twenty a second."""
    n = -(-x.shape[1] // _STROKE_HOP)
    hit = torch.rand(len(x), n + 3, device=x.device)
    hit = (hit < _uniform(x, 1, 20) / 200) * torch.rand_like(hit)
    envelope = torch.maximum(
        torch.maximum(hit[:, 3:], 0.5 * hit[:, 2:-1]), torch.maximum(0.2 * hit[:, 1:-2], 0.07 * hit[:, :-3])
    )
    envelope = envelope.repeat_interleave(_STROKE_HOP, 1)[:, : x.shape[1]]
    return _unit(torch.randn_like(x) * envelope)


def music(x: Tensor, hum: Tensor, voices: int = 3, notes: int = 40) -> Tensor:
    """Return (B, L) of unit power: random chords, or mains hum where `hum` (B, 1)."""
    batch, length = x.shape
    steady = hum[:, :, None]
    pitch = 55 * torch.pow(2.0, torch.randint(0, 49, (batch, voices, notes), device=x.device) / 12)
    pitch = torch.where(steady, 50.0 + 10 * torch.randint(0, 2, (batch, 1, 1), device=x.device), pitch)
    per_note = -(-length // notes)
    time = torch.arange(per_note, device=x.device) / SAMPLE_RATE
    phase_time = time + torch.where(steady, torch.arange(notes, device=x.device)[:, None] * per_note / SAMPLE_RATE, 0.0)
    decay = torch.exp(-time * torch.where(steady, 0.0, 4 * torch.rand(batch, 1, 1, device=x.device)))
    out = torch.zeros(batch, notes, per_note, device=x.device)
    for voice in range(voices):
        for harmonic in (1, 2, 3, 5):
            out = out + torch.sin((2 * math.pi * harmonic) * pitch[:, voice, :, None] * phase_time) / harmonic
    return _unit((out * decay).flatten(1)[:, :length])


def swell(x: Tensor) -> Tensor:
    """Return levels (B, L): 1, or in two of five clips random ones, up to 40 dB apart, that change every 0.1 s."""
    levels = _decibel(-40 * torch.rand(len(x), 1, 10 * x.shape[1] // SAMPLE_RATE + 1, device=x.device))
    levels = F.interpolate(levels, x.shape[1], mode="linear", align_corners=True)[:, 0]
    return torch.where(_chance(x, 0.4), levels, 1.0)


def formants(x: Tensor) -> Tensor:
    """Shift the formants of x (B, L) by up to a fifth in frequency, and leave the pitch.

    Every frame's spectrum is multiplied by the ratio of its warped to its own envelope. The envelope is the log
    magnitude, smoothed over 500 Hz.
    """
    window = torch.hann_window(_FFT, device=x.device)
    spectrum = torch.stft(x, _FFT, _FFT // 4, window=window, return_complex=True)
    level = (spectrum.abs() + 1e-5).log().transpose(1, 2)  # (B, frames, bins)
    kernel = torch.hann_window(_ENVELOPE + 2, periodic=False, device=x.device)[1:-1]
    padded = F.pad(level.flatten(0, 1)[:, None], (_ENVELOPE // 2, _ENVELOPE // 2), mode="replicate")
    envelope = F.conv1d(padded, (kernel / kernel.sum())[None, None]).unflatten(0, level.shape[:2])[:, :, 0]
    bins = torch.arange(level.shape[2], device=x.device)
    position = (bins / torch.exp(_uniform(x, -0.18, 0.18))).clamp(max=len(bins) - 1.001)
    low = position.long()
    index = low[:, None].expand_as(envelope)
    warped = torch.lerp(envelope.gather(2, index), envelope.gather(2, index + 1), (position - low)[:, None])
    gain = (warped - envelope).clamp(-2.0, 2.0).exp().transpose(1, 2)
    return torch.istft(spectrum * gain, _FFT, _FFT // 4, window=window, length=x.shape[1])


def mu_law(x: Tensor) -> Tensor:
    """Encode x with a telephone's 8-bit mu-law and decode it."""
    law = torch.sign(x) * torch.round(torch.log1p(255 * x.abs()) / math.log(256) * 127) / 127
    return torch.sign(law) * (torch.pow(256.0, law.abs()) - 1) / 255


def _some(wanted: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Select a fixed `share` of the rows, those with `wanted` (B, 1) first. Returns indices (n,) and `wanted` (n, 1).

    A fixed number of rows keeps the shapes static, and the GPU computes nothing for the other rows.
    """
    n = max(1, round(share * len(wanted)))
    rows = (wanted[:, 0] + 0.5 * torch.rand(len(wanted), device=wanted.device)).topk(n).indices
    return rows, wanted[rows]


def mix(x: Tensor, noise: Tensor, silent: Tensor) -> Tensor:
    """Add noise, strokes, music and babble of the batch's other clips at random levels; then gain, clipping, mu-law.

    Args:
        x: (B, L) speech.
        noise: (B, L) of unit power.
        silent: (B, 1) bool, clips without speech: each gets one kind of noise, or all.
    """
    kind = torch.randint(_SILENT_KINDS, (len(x), 1), device=x.device)
    mixed = ~silent | (kind == _SILENT_KINDS - 1)
    level = torch.where(silent, _uniform(x, 0.01, 0.1), x.square().mean(1, keepdim=True).sqrt())
    rows, wanted = _some(_chance(x, 0.25) & ~silent, 0.25)
    babble = sum(
        x[torch.randint(len(x), (len(rows),), device=x.device)].roll(random.randrange(x.shape[1]), 1) for _ in range(3)
    )
    x = x.index_add(0, rows, babble * _decibel(-_uniform(babble, 8, 30)) * wanted)
    loudness = torch.where(mixed, _decibel(-_uniform(x, 5, 45)) * _chance(x, 0.85), torch.where(kind <= 1, 1.0, 0.01))
    x = x + noise * (level * loudness)
    rows, wanted = _some(torch.where(mixed, _chance(x, 0.15), kind == 2), 0.2)
    loudness = torch.where(mixed, _decibel(-_uniform(x, 5, 30)), 1.0) * level
    x = x.index_add(0, rows, strokes(x[rows]) * loudness[rows] * wanted)
    rows, wanted = _some(torch.where(mixed, _chance(x, 0.2), (kind == 3) | (kind == 4)), 0.25)
    hum = torch.where(mixed, _chance(x, 0.25), kind == 4)
    x = x.index_add(0, rows, music(x[rows], hum[rows]) * loudness[rows] * wanted)
    peak = _decibel(torch.where(~mixed & (kind == 0), -_uniform(x, 36, 75), -_uniform(x, 2, 38)))
    x = x * (peak / (x.abs().amax(1, keepdim=True) + 1e-4))
    limit = torch.where(_chance(x, 0.06), 0.5 * peak, 1.0)
    x = torch.maximum(torch.minimum(x, limit), -limit)
    rows = torch.randperm(len(x), device=x.device)[: max(1, len(x) // 10)]
    return x.index_copy(0, rows, mu_law(x[rows]))


class Augment:
    """Distorts a batch."""

    def __init__(self, length: int, device: torch.device):
        self.size = next_fast_len(length + _ROOM, real=True)
        self.freq = torch.linspace(0, SAMPLE_RATE / 2, self.size // 2 + 1, device=device)

    def noise(self, x: Tensor) -> Tensor:
        """Return noise of the shape of x (B, L) and unit power, which falls with a random power of the frequency.

        In two of five clips its level varies.
        """
        white = torch.randn(len(x), len(self.freq), 2, device=x.device)
        coloured = white * (self.freq + 40).pow(-_uniform(x, 0, 1.2))[..., None]
        steady = torch.fft.irfft(torch.view_as_complex(coloured), self.size)[:, : x.shape[1]]
        return _unit(1e4 * steady * swell(x))

    @torch.no_grad()
    def __call__(self, x: Tensor, silent: Tensor) -> Tensor:
        """Distort speech: (B, L) float32, silent (B,) bool -> (B, L)."""
        rows, wanted = _some(_chance(x, 0.5), 0.5)
        x = x.index_copy(0, rows, torch.where(wanted, formants(x[rows]), x[rows]))
        spectrum = torch.fft.rfft(x, self.size) * torch.fft.rfft(room(x), self.size)
        heard = torch.fft.irfft(spectrum * response(x, self.freq), self.size)[:, : x.shape[1]]
        return mix(heard.contiguous(), self.noise(x), silent[:, None])
