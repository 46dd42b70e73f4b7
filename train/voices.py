"""Five synthesizers with one interface; each returns audio with the word times of its engine.

| engine | voices | how the speaker varies | word starts from |
| --- | --- | --- | --- |
| Kokoro-82M | 54 style vectors | random mixtures of styles, tempo | predicted phoneme durations |
| hibari | 1 (distilled from Kokoro) | pitch, intonation range, formants, breath, tempo | predicted phoneme durations |
| Piper "joe" | 1 | tempo, noise scales | predicted phoneme durations |
| flite | 2 | pitch, tempo | the utterance's segment relation |
| espeak-ng | hundreds | accent, variant, pitch, tempo | word events |

Every engine has `speak(spoken, label, rng) -> Utterance | None`; None means that the engine's words could not be
matched with the label's, and the sentence is skipped. Sources, versions and licences: README.md.
"""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .shards import SAMPLE_RATE, Utterance

if TYPE_CHECKING:
    from .classic_voices import Espeak

# Held out of training: the test set "unseen voices" is made with them.
HELD_OUT_STYLES = ("am_michael", "af_sarah", "bf_emma", "bm_lewis")

Run = Callable[[list[int], np.ndarray, float], tuple[np.ndarray, np.ndarray]]  # tokens, style, speed -> wave, durations

_TIMBRE = 128  # of the 256 numbers of a style, those that the generator reads; the predictor reads the others
_EDGE_SILENCE = 0.12  # seconds kept before the first and after the last sound


def to_int16(wave: np.ndarray, rate: int) -> np.ndarray:
    """Convert (n,) float at `rate` to (m,) int16 at 24 kHz with a peak of at most 0.9."""
    if rate != SAMPLE_RATE:
        from scipy.signal import resample_poly  # without it, the held-out voices can still be looked up

        divisor = np.gcd(rate, SAMPLE_RATE)
        wave = resample_poly(wave, SAMPLE_RATE // divisor, rate // divisor)
    wave = wave * (0.9 / max(1e-4, float(np.abs(wave).max())))
    return np.clip(np.round(wave * 32767), -32768, 32767).astype(np.int16)


def finish(pcm: np.ndarray, label: str, starts: list[float], voice: str) -> Utterance | None:
    """Trim silence at both ends, shift the word starts along, and return None for implausible results."""
    envelope = np.abs(pcm[: len(pcm) // 240 * 240].reshape(-1, 240).astype(np.int32)).max(1)
    loud = np.flatnonzero(envelope > 32767 * 0.01)
    words = label.split()
    if len(loud) == 0 or len(starts) != len(words) or any(b < a for a, b in itertools.pairwise(starts)):
        return None
    first = max(0, int(loud[0] * 240 - _EDGE_SILENCE * SAMPLE_RATE))
    last = min(len(pcm), int((loud[-1] + 1) * 240 + _EDGE_SILENCE * SAMPLE_RATE))
    seconds, letters = (last - first) / SAMPLE_RATE, len(label)
    if not 0.02 * letters < seconds < 0.35 * letters + 2:
        return None
    shifted = tuple(max(0.0, s - first / SAMPLE_RATE) for s in starts)
    return Utterance(pcm[first:last], label, shifted, voice)


def word_starts(symbols: str, durations: np.ndarray, unit: float) -> list[float]:
    """Return the starts of the space-separated groups of a phoneme string.

    `durations` (len(symbols) + 2,) counts units of `unit` seconds for each symbol and the pad at either end.
    """
    begin = np.concatenate([[0.0], np.cumsum(durations)])[1:-1] * unit  # begin[i]: start of symbols[i]
    return [float(begin[m.start()]) for m in re.finditer(r"\S+", symbols)]


class Hibari:
    """hibari-tts with random vocoder parameters, so that one voice becomes many.

    The network gives five spectra a frame (harmonic magnitude and phase, noise, residual magnitude and phase) and
    F0. Pitch scales F0; formants move by warping the three magnitudes along frequency; breath raises the noise.
    """

    def __init__(self, model: Path):
        from hibari import Hibari as Package
        from hibari import dsp

        self.dsp, self.package = dsp, Package(model=str(model))
        self.package.sess = onnx_session(model, "Clip")

    def phonemes(self, spoken: str, label: str) -> str | None:
        """Return Kokoro's phonemes, one space-separated group per word of the label; None if they do not match."""
        groups = " ".join(self.package.phonemize(spoken))
        groups = "".join(c for c in groups if c in self.package.vocab)
        groups = " ".join(g for g in groups.split() if any(c.isalpha() for c in g))
        return groups if len(groups.split()) == len(label.split()) else None

    def speak(self, spoken: str, label: str, rng: np.random.Generator) -> Utterance | None:
        symbols = self.phonemes(spoken, label)
        if symbols is None or len(symbols) > 400:
            return None
        feeds = {"ids": np.array([self.package.ids(symbols)], np.int64)}
        feeds["speed"] = np.array([rng.uniform(0.75, 1.35)], np.float32)
        *spectra, f0, durations = self.package.sess.run(None, feeds)
        harmonic, phase, noise, residual, residual_phase = (s[0] for s in spectra)
        f0 = self._bend_pitch(f0[0], rng)
        formants = float(np.clip(rng.normal(1.0, 0.1), 0.78, 1.28))
        bins = np.minimum(np.arange(harmonic.shape[0]) / formants, harmonic.shape[0] - 1.001)
        low, part = bins.astype(int), (bins % 1)[:, None].astype(np.float32)
        tilt = (rng.uniform(-1.2, 1.2) * np.linspace(0, 1, harmonic.shape[0], dtype=np.float32))[:, None]
        harmonic, noise, residual = (
            s[low] * (1 - part) + s[low + 1] * part + tilt for s in (harmonic, noise, residual)
        )
        wave = self.dsp.synth(harmonic, phase, noise + rng.uniform(-0.3, 0.8), residual, residual_phase, f0, rng)
        unit = len(wave) / SAMPLE_RATE / max(1.0, float(durations.sum()))
        starts = word_starts(symbols, durations.reshape(-1), unit)
        return finish(to_int16(wave, SAMPLE_RATE), label, starts, "hibari")

    @staticmethod
    def _bend_pitch(f0: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Scale pitch (0.45 to 1.6) and intonation range (0.5 to 1.6) of the voiced frames."""
        voiced = f0 > 40
        if not voiced.any():
            return f0
        mean = float(np.exp(np.log(f0[voiced]).mean()))
        scale, spread = np.exp(rng.uniform(np.log(0.45), np.log(1.6))), rng.uniform(0.5, 1.6)
        return np.where(voiced, np.clip(mean * scale * (np.maximum(f0, 1) / mean) ** spread, 55, 500), f0).astype(
            np.float32
        )


class Styles:
    """Kokoro's style vectors: 510 rows (one a token count) of 256 numbers for each voice."""

    def __init__(self, path: Path):
        """`path`: an .npz of float16 arrays (rows, 256), rows evenly spaced over the 510 token counts."""
        self.tables = {k: v.astype(np.float32) for k, v in np.load(path).items()}
        self.english = [k for k in self.tables if k[0] in "ab" and k not in HELD_OUT_STYLES]
        self.foreign = [k for k in self.tables if k[0] not in "ab"]

    def row(self, name: str, tokens: int) -> np.ndarray:
        table = self.tables[name]
        return table[min(len(table) - 1, tokens * len(table) // 510)]

    def mixture(self, tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """Return a random mixture of trained voices; one in three has the prosody of another mixture."""
        timbre, names = self._blend(tokens, rng)
        prosody, others = (timbre, set()) if rng.random() < 0.67 else self._blend(tokens, rng)
        style = np.concatenate([timbre[:_TIMBRE], prosody[_TIMBRE:]])
        return style, "kokoro:" + "+".join(sorted(names | others))

    def _blend(self, tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, set[str]]:
        """Mix one to three trained voices, in 15 % of the cases with a foreign one."""
        names = list(rng.choice(self.english, rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]), replace=False))
        if rng.random() < 0.15:
            names.append(rng.choice(self.foreign))
        weights = rng.dirichlet(np.full(len(names), 1.5))
        if len(names) > 1 and names[-1] in self.foreign:
            weights[-1] = min(weights[-1], 0.5)
            weights /= weights.sum()
        style = sum(w * self.row(n, tokens) for w, n in zip(weights, names, strict=True))
        return np.asarray(style, np.float32), set(names)


class Kokoro:
    """Kokoro-82M, one sentence a call. `run(tokens, style, speed) -> (wave, durations)` does the arithmetic:
    onnxruntime on a CPU (`onnx_runner`), or `gpu_voice.GraphRunner`."""

    unit = 600 / SAMPLE_RATE  # seconds a duration unit

    def __init__(self, run: Run, styles: Styles, g2p: Hibari):
        self.run, self.styles, self.g2p = run, styles, g2p

    def speak(self, spoken: str, label: str, rng: np.random.Generator, voice: str | None = None) -> Utterance | None:
        """Speak one sentence, by a random mixture of the trained voices or by `voice`."""
        spoken_all = self.speak_all([(spoken, label)], rng, voice)
        return spoken_all[0] if spoken_all else None

    def speak_all(
        self, pairs: list[tuple[str, str]], rng: np.random.Generator, voice: str | None = None
    ) -> list[Utterance]:
        """Speak several sentences in one call (faster on a GPU), and cut at the pauses between them."""
        matched = [(self.g2p.phonemes(spoken, label), label) for spoken, label in pairs]
        parts = [(s if s[-1] in ".,;:!?" else s + ".", label) for s, label in matched if s]
        symbols = " ".join(s for s, _ in parts)
        if not symbols or len(symbols) > 500:
            return []
        if voice is None:
            style, name = self.styles.mixture(len(symbols), rng)
        else:
            style, name = self.styles.row(voice, len(symbols)), "kokoro:" + voice
        wave, durations = self.run(self.g2p.package.ids(symbols), style, rng.uniform(0.8, 1.25))
        starts, pcm = word_starts(symbols, durations, self.unit), to_int16(wave, SAMPLE_RATE)
        out: list[Utterance] = []
        for _, label in parts:
            count = len(label.split())
            mine, starts = starts[:count], starts[count:]
            begin = max(0.0, mine[0] - 0.15) if out or len(parts) > 1 else 0.0
            end = starts[0] - 0.05 if starts else len(pcm) / SAMPLE_RATE
            cut = pcm[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
            utterance = finish(cut, label, [s - begin for s in mine], name) if len(cut) > 480 else None
            if utterance is not None:
                out.append(utterance)
        return out


def onnx_session(model: Path, durations: str, threads: int = 1) -> Any:
    """An onnxruntime session of `model` with one more output, `durations`: what its first node of type `durations`
    gives."""
    import onnx
    import onnxruntime

    proto = onnx.load(model)
    if all(o.name != "durations" for o in proto.graph.output):
        source = next(n for n in proto.graph.node if n.op_type == durations).output[0]
        proto.graph.node.append(onnx.helper.make_node("Identity", [source], ["durations"]))
        proto.graph.output.append(onnx.helper.make_tensor_value_info("durations", onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_runner(model: Path) -> Run:
    """Return a `Kokoro.run` for the CPU. It takes one to two times real time on one core."""
    session = onnx_session(model, "Clip")

    def run(tokens: list[int], style: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
        feeds = {"tokens": np.array([tokens], np.int64), "style": style[None], "speed": np.array([speed], np.float32)}
        wave, durations = session.run(["audio", "durations"], feeds)
        return wave, durations.reshape(-1)

    return run


class Piper:
    """A Piper (VITS) voice with the extra output `durations`; phonemes from espeak-ng."""

    def __init__(self, model: Path, config: Path, espeak: "Espeak"):
        self.session, self.espeak = onnx_session(model, "Ceil"), espeak
        settings = json.loads(config.read_text())
        self.ids, self.rate = settings["phoneme_id_map"], settings["audio"]["sample_rate"]

    def speak(self, spoken: str, label: str, rng: np.random.Generator) -> Utterance | None:
        symbols = "".join(c for c in self.espeak.phonemes(spoken) if c in self.ids)
        if len(symbols.split()) != len(label.split()):
            return None  # espeak merged function words
        symbols += "."
        tokens = list(self.ids["^"])
        for c in symbols:
            tokens += self.ids["_"] + self.ids[c]
        tokens += self.ids["_"] + self.ids["$"]
        scales = [rng.uniform(0.5, 0.8), rng.uniform(0.8, 1.3), rng.uniform(0.6, 0.9)]
        feeds = {
            "input": np.array([tokens], np.int64),
            "input_lengths": np.array([len(tokens)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        wave, durations = self.session.run(["output", "durations"], feeds)
        wave, durations = wave.reshape(-1), durations.reshape(-1)
        # tokens alternate: ^ _ a _ b ... _ $; a symbol lasts from its own slot to the next symbol's.
        pairs = np.concatenate([[durations[0]], durations[1:].reshape(-1, 2).sum(1)])
        starts = word_starts(symbols, pairs, len(wave) / self.rate / max(1.0, float(durations.sum())))
        return finish(to_int16(wave, self.rate), label, starts, "piper:joe")
