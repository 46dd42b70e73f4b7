"""The sentences for the synthesizers: from a grammar and from freely licensed texts.

A sentence exists in two forms: the *spoken* form, with punctuation, goes to the synthesizer (punctuation shapes the
prosody); the *label*, lower case a-z and apostrophes only, is what the model learns to write. Numbers are always
spelled out, so that every engine reads exactly the label.

Two per cent of all labels, chosen by a hash, are held out of training; the test sets are drawn from those alone.
"""

import gzip
import json
import lzma
import random
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from .grammar import Grammar

LABEL_CHARS = " abcdefghijklmnopqrstuvwxyz'"
MAX_WORDS = 24
_HELD_OUT_MODULUS = 50


def label(text: str) -> str | None:
    """Return the label of a spoken form, or None if it cannot be spelled with `LABEL_CHARS`."""
    text = text.lower().replace("\u2019", "'").replace("-", " ")
    text = re.sub(r"[,.;:!?\"]", " ", text)
    words = [w.strip("'") if w != "'" else "" for w in text.split()]
    out = " ".join(w for w in words if w)
    return out if out and all(c in LABEL_CHARS for c in out) else None


def is_held_out(text_label: str) -> bool:
    """Whether a label is held out of training."""
    return zlib.crc32(text_label.encode()) % _HELD_OUT_MODULUS == 0


def _usable(sentence: str) -> bool:
    """Whether a sentence is short and plain: no digits, abbreviations, brackets or foreign letters."""
    words = sentence.split()
    return (
        2 <= len(words) <= MAX_WORDS
        and max(map(len, words)) <= 16
        and re.fullmatch(r"[A-Za-z' ,;:.?!\-\"]+", sentence) is not None
        and re.search(r"\b[A-Z]{2,}\b|\w\.\w|\.\.|--|(?:^|\s)[b-hj-z]\b", sentence) is None
    )


def wordnet_sentences(folder: Path) -> tuple[list[str], list[str]]:
    """Return the usage examples and the definitions of the WordNet 3 data files in `folder`."""
    examples: set[str] = set()
    definitions: set[str] = set()
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(encoding="latin-1").splitlines():
            gloss = line.partition(" | ")[2].strip()
            examples.update(e.strip(" ;-") for e in re.findall(r'"([^"]+)"', gloss))
            definition = re.sub(r"\([^)]*\)", "", gloss.split(";")[0].split('"')[0]).strip()
            if len(definition.split()) >= 5:
                definitions.add(definition)
    return sorted(filter(_usable, examples)), sorted(filter(_usable, definitions))


def prose_sentences(path: Path) -> list[str]:
    """Return the sentences of a plain-text book, which may be gzipped."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = re.sub(r"[{}_*]", "", raw.decode("utf-8", "replace"))
    out = set()
    for paragraph in re.split(r"\n\s*\n", text):
        out.update(re.split(r"(?<=[.!?;:])\s+", " ".join(paragraph.split())))
    return sorted(s for s in out if _usable(s) and len(s.split()) >= 4)


def written_sentences(path: Path) -> list[str]:
    """Return the usable lines of a file with one sentence per line, or of the `sentence` column of a .tsv."""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    if path.suffix == ".tsv":
        column = lines[0].split("\t").index("sentence")
        lines = [line.split("\t")[column] for line in lines[1:] if line.count("\t") >= column]
    return sorted({s.strip() for s in lines if _usable(s.strip())})


def _word_runs(text_label: str, n: int = 5) -> set[tuple[str, ...]]:
    words = text_label.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} or {tuple(words)}


def test_runs(sets: list[Path]) -> set[tuple[str, ...]]:
    """Return every five consecutive words of the test sets, and their shorter sentences."""
    out: set[tuple[str, ...]] = set()
    for path in sets:
        with zipfile.ZipFile(path) as archive:
            for what in json.loads(archive.read("labels.json")).values():
                out |= _word_runs(label(what["text"]) or "")
    return out


def shares_run(text_label: str, barred: set[tuple[str, ...]], shortest: int = 1) -> bool:
    """Whether a label has one of the runs of `test_runs` that are at least `shortest` words long."""
    return any(len(run) >= shortest for run in barred & _word_runs(text_label))


def build_corpus(sections: list[tuple[float, list[str]]], tests: list[Path], dest: Path) -> None:
    """Write the corpus: sections of sentences, one a line, each section under its weight, xz-compressed.

    A sentence that shares five words in a row with a test set is left out.
    """
    barred = test_runs(tests)
    text = ""
    for weight, lines in sections:
        kept = [s for s in lines if not shares_run(label(s) or "", barred)]
        text += f"# {weight}\n" + "".join(s + "\n" for s in kept)
    dest.write_bytes(lzma.compress(text.encode(), preset=9))


def load_corpus(path: Path) -> list[tuple[float, list[str]]]:
    """Read the output of `build_corpus`: [(weight, sentences)]."""
    sections: list[tuple[float, list[str]]] = []
    for line in lzma.decompress(path.read_bytes()).decode().splitlines():
        if line.startswith("# "):
            sections.append((float(line[2:]), []))
        else:
            sections[-1][1].append(line)
    return sections


def sentences(corpus: Path, seed: int, held_out: bool = False, grammar_share: float = 0.3) -> Iterator[tuple[str, str]]:
    """Yield (spoken form, label) pairs without end, either those for training or the held-out ones."""
    rng = random.Random(seed)
    grammar, sections = Grammar(rng), load_corpus(corpus)
    weights, lists = zip(*sections, strict=True)
    while True:
        spoken = grammar.sentence() if rng.random() < grammar_share else rng.choice(rng.choices(lists, weights)[0])
        text_label = label(spoken)
        if text_label and len(text_label.split()) <= MAX_WORDS and is_held_out(text_label) == held_out:
            yield spoken.replace("-", " "), text_label


def build_tokenizer(corpus: Path, dest: Path, card: int = 2000, lines: int = 200_000) -> None:
    """Train the word pieces: SentencePiece unigram; id 0 (its unknown) marks a word's start, id 3 (its pad) is
    silence."""
    import io

    import sentencepiece

    stream = sentences(corpus, seed=0)
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(next(stream)[1] for _ in range(lines)), model_writer=out, vocab_size=card,
        model_type="unigram", character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, pad_id=3,
        normalization_rule_name="identity",
    )  # fmt: skip
    dest.write_bytes(out.getvalue())


def main() -> None:
    import argparse

    cli = argparse.ArgumentParser(description="Build the text corpus and its tokenizer.")
    cli.add_argument("wordnet", type=Path, help="folder with WordNet's data.* files")
    cli.add_argument("dest", type=Path, help="folder for corpus.txt.xz and tokenizer.model")
    cli.add_argument("--prose", type=Path, nargs="*", default=[], help="plain-text books")
    cli.add_argument("--jargon", type=Path, nargs="*", default=[], help="plain-text books of odd words")
    cli.add_argument("--sentences", type=Path, nargs="*", default=[], help="sentences, one a line, or .tsv")
    cli.add_argument("--tests", type=Path, nargs="*", default=[], help="test sets whose sentences are left out")
    a = cli.parse_args()
    examples, definitions = wordnet_sentences(a.wordnet)
    sections = [
        (0.40, sorted({s for p in a.sentences for s in written_sentences(p)})),
        (0.38, sorted({s for p in a.prose for s in prose_sentences(p)})),
        (0.14, examples),
        (0.05, definitions),
        (0.03, sorted({s for p in a.jargon for s in prose_sentences(p)})),
    ]
    for weight, lines in sections:
        print(f"{weight}: {len(lines)} sentences")
    build_corpus(sections, a.tests, a.dest / "corpus.txt.xz")
    build_tokenizer(a.dest / "corpus.txt.xz", a.dest / "tokenizer.model")


if __name__ == "__main__":
    main()
