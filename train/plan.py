"""Plans batches in separate processes: which piece of which utterance goes where, and the text of each clip.

A plan holds numbers only and is small; `data.py` turns it into audio on the GPU.

Clips are of three kinds: whole utterances, random phrases cut out of those of people, and new sentences of the text
corpus spliced from single words. With whole utterances alone the transformer memorizes the few sentences that people
and synthesizers say.
"""

import itertools
import math
import multiprocessing
import queue
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .config import FRAME, SAMPLE_RATE
from .items import PEOPLE_SHARES, Item, Update, source_of
from .text import LABEL_CHARS, sentences
from .tokens import text_stream

CLASS = {c: i + 1 for i, c in enumerate(LABEL_CHARS)}  # of CTC; 0 is the blank
SLOTS = 40  # pieces of utterances in a clip, at most

PEOPLE_SHARE = 0.68  # of the clips are spoken by people, the others by synthesizers
SILENT_SHARE = 0.12  # of the clips hold no speech
ENGINE_SHARES = {"kokoro": 0.40, "hibari": 0.28, "piper": 0.06, "flite": 0.14, "espeak": 0.12}
WHOLE_SHARE, PHRASE_SHARE = 0.48, 0.32  # of the clips of people; the others are spliced from words
SPLICED_SHARE = 0.30  # of the synthetic clips are spliced from words
_FULL_SHARE = 2000  # utterances; a source with fewer gets less than its share
_MAX_PIECES = 60  # of a word that are kept for splicing, of each synthesizer
_ONE_VOICE = 0.5  # of the whole and phrase clips of people are by one speaker


class Piece(NamedTuple):
    """Words `first` to `last` (exclusive) of an item."""

    item: Item
    first: int
    last: int

    @property
    def begin(self) -> int:
        return int(self.item.cuts[self.first] * SAMPLE_RATE) if self.first else 0

    @property
    def end(self) -> int:
        return int(self.item.cuts[self.last] * SAMPLE_RATE) if self.last < len(self.item.starts) else self.item.samples


@dataclass
class Plan:
    """B clips. begin, samples (B, SLOTS) int32, source (B, SLOTS) int64: pieces of the bank's audio, and where in the
    clip they begin; speed, gain (B, SLOTS) float32; tokens (B, S + 1) int64; characters (B, n) int64 of `lengths` (B,)
    int64; silent (B,) bool."""

    begin: np.ndarray
    source: np.ndarray
    samples: np.ndarray
    speed: np.ndarray
    gain: np.ndarray
    tokens: np.ndarray
    characters: np.ndarray
    lengths: np.ndarray
    silent: np.ndarray


class Planner:
    """Draws clips from the items of the bank."""

    def __init__(self, seed: int, seconds: float, delay: int, corpus: Path | None):
        self.rng, self.delay = random.Random(seed), delay
        self.length = int(seconds * SAMPLE_RATE) // FRAME * FRAME
        self.steps = self.length // FRAME + 1
        self.sources: dict[str, list[Item]] = {}
        self.voices: dict[str, tuple[list[str], list[float]]] = {}  # of a source of people: names, cumulative weights
        self.by_voice: dict[str, list[Item]] = {}  # of people
        self.by_word: dict[str, dict[str, list[Piece]]] = {}  # of "human" and of each synthesizer
        self.alive: dict[int, Item] = {}  # by offset; pieces of other items have been overwritten
        self.by_voice_word: dict[tuple[str, str], list[Piece]] = {}
        self.corpus = sentences(corpus, seed, grammar_share=0.15) if corpus else None

    def update(self, update: Update) -> None:
        """Add items and drop those that are being overwritten."""
        if update.end:
            for source, items in self.sources.items():
                for item in items:
                    if update.begin <= item.offset < update.end:
                        del self.alive[item.offset]
                self.sources[source] = [item for item in items if item.offset in self.alive]
        if not update.items:
            return
        self.sources.setdefault(update.source, []).extend(update.items)
        self.alive.update((item.offset, item) for item in update.items)
        people = update.source.startswith("human")
        by_word = self.by_word.setdefault("human" if people else update.source, {})
        for item in update.items:
            for index, word in enumerate(item.label.split()):
                piece, pieces = Piece(item, index, index + 1), by_word.setdefault(word, [])
                if people or len(pieces) < _MAX_PIECES:
                    pieces.append(piece)
                else:
                    pieces[self.rng.randrange(_MAX_PIECES)] = piece
                if people:
                    self.by_voice_word.setdefault((item.voice, word), []).append(piece)
        if people:
            for item in update.items:
                self.by_voice.setdefault(item.voice, []).append(item)
            names = sorted({item.voice for item in self.sources[update.source]})
            weights = (math.sqrt(len(self.by_voice[name])) for name in names)
            self.voices[update.source] = names, list(itertools.accumulate(weights))

    def draw(self, people: bool, voice: str | None = None) -> Item:
        """Draw an utterance of `voice`, or of a source drawn by its share.

        A speaker's weight in a source of people is the square root of the number of their utterances.
        """
        rng = self.rng
        if voice is not None:
            return rng.choice(self.by_voice[voice])
        names = [s for s, items in self.sources.items() if items and s.startswith("human") == people]
        if not names:
            return self.draw(not people)
        shares = [PEOPLE_SHARES.get(s[6:], 0.05) if people else ENGINE_SHARES.get(s, 0.1) for s in names]
        shares = [share * min(1, len(self.sources[s]) / _FULL_SHARE) for share, s in zip(shares, names, strict=True)]
        source = rng.choices(names, shares)[0]
        if not people:
            return rng.choice(self.sources[source])
        speakers, weights = self.voices[source]
        return rng.choice(self.by_voice[rng.choices(speakers, cum_weights=weights)[0]])

    def groups(self) -> Iterator[list[Piece]]:
        """Yield groups of pieces for one clip without end. The pieces of a group follow each other without a pause."""
        rng = self.rng
        people = rng.random() < PEOPLE_SHARE and bool(self.by_voice)
        kind = rng.random()
        whole_and_phrases = WHOLE_SHARE + PHRASE_SHARE if people else 1 - SPLICED_SHARE
        if kind > whole_and_phrases and self.corpus is not None:
            while True:
                yield self.spliced(people)
        phrases = people and kind > WHOLE_SHARE
        voice = None
        while True:
            item = self.draw(people, voice)
            if people and voice is None and rng.random() < _ONE_VOICE and len(self.by_voice[item.voice]) > 3:
                voice = item.voice
            count = len(item.starts)
            if phrases and count > 2:
                first = rng.randrange(count)
                yield [Piece(item, first, min(count, first + rng.randint(1, 5)))]
            else:
                yield [Piece(item, 0, count)]

    def spliced(self, people: bool) -> list[Piece]:
        """Splice a sentence of the corpus from words of one engine, or of people: most of them by one speaker."""
        assert self.corpus is not None
        item = self.draw(people)
        engine = source_of(item.voice)
        by_word = self.by_word["human" if engine.startswith("human") else engine]
        for _ in range(30):
            words = next(self.corpus)[1].split()
            if len(words) > 12 or not all(by_word.get(w) for w in words):
                continue
            found = [self.pick(self.by_voice_word.get((item.voice, w)) or by_word[w]) for w in words]
            pieces = [piece for piece in found if piece is not None]
            if len(pieces) == len(words):
                return pieces
        return [Piece(item, 0, len(item.starts))]

    def pick(self, pieces: list[Piece]) -> Piece | None:
        """Draw a piece whose audio has not been overwritten, and forget those drawn whose audio has."""
        while pieces:
            index = self.rng.randrange(len(pieces))
            piece = pieces[index]
            if self.alive.get(piece.item.offset) is piece.item:
                return piece
            pieces[index] = pieces[-1]
            pieces.pop()
        return None

    def clip(self, plan: Plan, row: int) -> str:
        """Fill one row of `plan` and return its text."""
        rng = self.rng
        at = int(rng.uniform(0, 0.8 if rng.random() < 0.5 else 3.0) * SAMPLE_RATE)
        words: list[tuple[float, list[int]]] = []
        said: list[str] = []
        plan.silent[row] = rng.random() < SILENT_SHARE
        slot, misses, pace = 0, 0, math.exp(rng.gauss(0, 0.1))
        for group in self.groups():
            rate = min(1.28, max(0.78, pace * math.exp(rng.gauss(0, 0.03))))
            total = sum(p.end - p.begin for p in group) / rate
            if plan.silent[row] or misses == 5 or slot + len(group) > SLOTS:
                break
            if at + total > self.length - 0.25 * SAMPLE_RATE:
                misses += 1
                continue
            gain = rng.uniform(0.5, 1.0)
            for piece in group:
                item, begin, end = piece.item, piece.begin, piece.end
                plan.begin[row, slot], plan.source[row, slot] = at, item.offset + begin
                plan.samples[row, slot], plan.speed[row, slot], plan.gain[row, slot] = max(2, end - begin), rate, gain
                for start, tokens in zip(
                    item.starts[piece.first : piece.last], item.tokens[piece.first : piece.last], strict=True
                ):
                    words.append((max(0.0, at / SAMPLE_RATE + (start - begin / SAMPLE_RATE) / rate), tokens))
                said += item.label.split()[piece.first : piece.last]
                at += int((end - begin) / rate)
                slot += 1
            pause = rng.uniform(0.0, 0.3) if rng.random() < 0.6 else rng.uniform(0.3, 1.6)
            at += int(pause * SAMPLE_RATE)
        plan.tokens[row] = text_stream(words, self.steps, self.delay)
        return " ".join(said)

    def batch(self, size: int) -> Plan:
        """Plan `size` clips."""
        shape = (size, SLOTS)
        plan = Plan(
            np.full(shape, self.length, np.int32), np.zeros(shape, np.int64), np.full(shape, 2, np.int32),
            np.ones(shape, np.float32), np.ones(shape, np.float32), np.zeros((size, self.steps), np.int64),
            np.zeros((size, 1), np.int64), np.zeros(size, np.int64), np.zeros(size, bool),
        )  # fmt: skip
        labels = [self.clip(plan, row) for row in range(size)]
        plan.characters = np.zeros((size, max(1, *map(len, labels))), np.int64)
        for row, text in enumerate(labels):
            plan.characters[row, : len(text)] = [CLASS[c] for c in text]
            plan.lengths[row] = len(text)
        return plan


def _work(planner_args: tuple, size: int, inbox: Any, outbox: Any) -> None:
    """Run a planning process: read updates when there are any, and write plans until the trainer ends."""
    planner = Planner(*planner_args)
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    while trainer.is_alive():  # a trainer that crashes does not end its children
        try:
            while True:
                planner.update(inbox.get(block=not planner.sources))
        except queue.Empty:
            pass
        if planner.sources and any(planner.sources.values()):
            outbox.put(planner.batch(size))


class PlannerPool:
    """Planning processes. `update` tells all of them what is in the bank; `next` returns a plan."""

    def __init__(self, processes: int, seed: int, size: int, seconds: float, delay: int, corpus: Path | None):
        context = multiprocessing.get_context("spawn")
        self.outbox = context.Queue(2 * processes)
        self.inboxes = [context.Queue() for _ in range(processes)]
        for inbox in self.inboxes:
            inbox.cancel_join_thread()  # otherwise a trainer that fails would wait for planners that have ended
        for index, inbox in enumerate(self.inboxes):
            arguments = (seed * 1000 + index, seconds, delay, corpus)
            context.Process(target=_work, args=(arguments, size, inbox, self.outbox), daemon=True).start()

    def update(self, update: Update) -> None:
        for inbox in self.inboxes:
            inbox.put(update)

    def next(self) -> Plan:
        plan: Plan = self.outbox.get()
        return plan
