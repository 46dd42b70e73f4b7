"""espeak-ng and flite, loaded as libraries. See voices.py."""

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np

from .shards import Utterance
from .voices import finish, to_int16

HELD_OUT_FLITE = ("rms",)
TRAIN_FLITE = ("slt", "awb")  # the voice rms is held out of training


class _EspeakEvent(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


class Espeak:
    """libespeak-ng in this process: hundreds of accent and variant combinations."""

    ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-scotland", "en-029")
    VARIANTS = (
        "m1",
        "m2",
        "m3",
        "m4",
        "m5",
        "m6",
        "m7",
        "m8",
        "f1",
        "f2",
        "f3",
        "f4",
        "f5",
        "croak",
        "klatt2",
        "klatt3",
    )
    _WORD, _RETRIEVAL, _RATE, _PITCH, _RANGE, _IPA = 1, 2, 1, 3, 4, 0x02

    def __init__(self, data: Path | None = None):
        self.lib = ctypes.CDLL("libespeak-ng.so.1")
        self.lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.rate = self.lib.espeak_Initialize(self._RETRIEVAL, 0, str(data).encode() if data else None, 0)
        if self.rate <= 0:
            raise RuntimeError("espeak-ng found no data")
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_EspeakEvent))
        self._callback = prototype(self._receive)
        self.lib.espeak_SetSynthCallback(self._callback)
        self._chunks: list[bytes] = []
        self._words: list[tuple[int, float]] = []

    def _receive(self, wave: int | None, samples: int, events: Any) -> int:
        if wave and samples > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * samples))
        index = 0
        while events[index].type:
            if events[index].type == self._WORD:
                self._words.append((events[index].text_position - 1, events[index].audio_position / 1000))
            index += 1
        return 0

    def phonemes(self, text: str) -> str:
        """Return the IPA of `text` in the American voice, clauses joined by a space."""
        self.lib.espeak_SetVoiceByName(b"en-us")
        buffer = ctypes.create_string_buffer(text.encode())
        pointer, clauses = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while pointer.value:
            clauses.append(self.lib.espeak_TextToPhonemes(ctypes.byref(pointer), 1, self._IPA).decode().strip())
        return " ".join(c for c in clauses if c)

    def speak(self, spoken: str, label: str, rng: np.random.Generator) -> Utterance | None:
        voice = f"{rng.choice(self.ACCENTS)}+{rng.choice(self.VARIANTS)}"
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        self.lib.espeak_SetParameter(self._RATE, int(rng.uniform(120, 215)), 0)
        self.lib.espeak_SetParameter(self._PITCH, int(rng.uniform(20, 80)), 0)
        self.lib.espeak_SetParameter(self._RANGE, int(rng.uniform(20, 90)), 0)
        self._chunks, self._words = [], []
        raw = spoken.encode()
        self.lib.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, 1, None, None)
        self.lib.espeak_Synchronize()
        wave = np.frombuffer(b"".join(self._chunks), np.int16).astype(np.float32)
        starts = self._match(spoken, label)
        return finish(to_int16(wave, self.rate), label, starts, "espeak:" + voice) if starts and len(wave) else None

    def _match(self, spoken: str, label: str) -> list[float] | None:
        """Return one start per word. espeak merges some function words; their starts are interpolated by letters."""
        spans = [m.start() for m in re.finditer(r"[A-Za-z][A-Za-z']*", spoken)]
        events = dict(self._words)
        known = [(i, events[s]) for i, s in enumerate(spans) if s in events]
        if len(spans) != len(label.split()) or not known or known[0][0] != 0 or known[-1][0] != len(spans) - 1:
            return None
        index, seconds = zip(*known, strict=True)
        letters = [spans[i] for i in index]
        return [float(np.interp(s, letters, seconds)) for s in spans]


class _FliteWave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("samples_count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_int16)),
    ]


class Flite:
    """libflite's CMU voices in this process."""

    _WORD_START = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"

    def __init__(self, voices: tuple[str, ...] = TRAIN_FLITE):
        self.lib = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        p, text = ctypes.c_void_p, ctypes.c_char_p
        signatures = {
            "flite_synth_text": ([text, p], p),
            "utt_wave": ([p], ctypes.POINTER(_FliteWave)),
            "utt_relation": ([p, text], p),
            "relation_head": ([p], p),
            "item_next": ([p], p),
            "ffeature_float": ([p, text], ctypes.c_float),
            "ffeature_string": ([p, text], text),
            "delete_utterance": ([p], None),
            "flite_feat_set_float": ([p, text, ctypes.c_float], None),
        }
        for name, (arguments, result) in signatures.items():
            function = getattr(self.lib, name)
            function.argtypes, function.restype = arguments, result
        self.lib.flite_init()
        self.voices = {}
        for name in voices:
            register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.argtypes, register.restype = [text], p
            self.voices[name] = register(None)

    def speak(self, spoken: str, label: str, rng: np.random.Generator) -> Utterance | None:
        name = str(rng.choice(list(self.voices)))
        utterance = self.lib.flite_synth_text(spoken.encode(), self.voices[name])
        wave = self.lib.utt_wave(utterance).contents
        samples = np.ctypeslib.as_array(wave.samples, (wave.samples_count,)).astype(np.float32)
        rate, words, starts = wave.sample_rate, list[str](), list[float]()
        item = self.lib.relation_head(self.lib.utt_relation(utterance, b"Word"))
        while item:
            word = self.lib.ffeature_string(item, b"name").decode()
            if word in ("'s", "s") and words and len(words) <= len(label.split()) and words[-1] != word:
                words[-1] += word  # flite splits off the possessive
            else:
                words.append(word)
                starts.append(float(self.lib.ffeature_float(item, self._WORD_START)))
            item = self.lib.item_next(item)
        self.lib.delete_utterance(utterance)
        if [w.replace("'", "") for w in words] != [w.replace("'", "") for w in label.split()]:
            return None
        # Resampling by a few per cent moves pitch and formants together, as another speaker would.
        shift = rng.uniform(0.88, 1.14)
        wave16 = to_int16(samples, round(rate * shift / 100) * 100)
        return finish(wave16, label, [s / shift for s in starts], "flite:" + name)
