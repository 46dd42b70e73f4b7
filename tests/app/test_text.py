"""Token ids -> text, words and captions."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from tests.app.golden import GOLDEN, golden
from tympan.config import FRAME_S
from tympan.errors import BadModel
from tympan.text import captions
from tympan.text.cues import MAX_CUE_S, MAX_LINE_CHARACTERS, PAUSE_S
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import Word, WordBuilder

PAD, BOUNDARY = 3, 0


@pytest.fixture(scope="module")
def sentencepiece() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(GOLDEN / "tokenizer.model"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())


def test_decoding_matches_sentencepiece(sentencepiece: SentencePieceProcessor, tokenizer: Tokenizer) -> None:
    assert len(tokenizer.pieces) == sentencepiece.get_piece_size()
    rng = np.random.default_rng(0)
    for _ in range(50):
        ids = rng.integers(4, len(tokenizer.pieces), size=12).tolist()
        assert tokenizer.decode(ids) == sentencepiece.decode(ids).strip()


def test_special_ids_and_ids_beyond_the_end_have_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([0, 1, 2, 3, len(tokenizer.pieces), 8000]) == ""


@pytest.mark.parametrize("bad", [b"", b"\x00", b"not a model at all", b"\x0a\xff\xff", b"\x0a\x7f\x0a"])
def test_an_invalid_tokenizer_file_is_rejected(bad: bytes) -> None:
    with pytest.raises(BadModel):
        Tokenizer.from_bytes(bad)


def test_byte_pieces_join_into_characters() -> None:
    def piece(text: bytes, kind: int) -> bytes:
        message = bytes([0x0A, len(text)]) + text + bytes([0x18, kind])
        return bytes([0x0A, len(message)]) + message

    model = b"".join([piece(b"<unk>", 2), *[piece(b"x", 3)] * 3, piece(b"<0xC3>", 6), piece(b"<0xA9>", 6)])
    assert Tokenizer.from_bytes(model).decode([4, 5]) == "é"


def words_of(tokenizer: Tokenizer, tokens: list[int], end_s: float = 100.0) -> list[Word]:
    builder = WordBuilder(golden().lm_config, tokenizer)
    emitted = [word for token in tokens for word in builder.push(token)] + builder.finish(end_s)
    assert [word.text for word in emitted] == [word.text for word in builder.words]
    return builder.words


def test_word_starts_match_the_rust_server(tokenizer: Tokenizer) -> None:
    """Source: kyutai-labs/moshi@e6a55d2 rust/moshi-core/src/asr.rs, run over the golden tokens in meta.json."""
    events = json.loads((GOLDEN / "meta.json").read_text())["word_events"]["rust_first_S_steps_of_primed"]
    tokens = golden().expected["primed_text_tokens"].tolist()
    starts = {word.start for word in words_of(tokenizer, tokens)}
    official = {round(event["start_time"], 2) for event in events if event["type"] == "Word"}
    assert official <= starts


def test_a_word_is_complete_at_the_padding_after_it(
    sentencepiece: SentencePieceProcessor, tokenizer: Tokenizer
) -> None:
    the, le = sentencepiece.piece_to_id("▁the"), sentencepiece.piece_to_id("▁le")
    builder = WordBuilder(golden().lm_config, tokenizer)
    for token in [PAD] * 10 + [BOUNDARY, the]:
        assert builder.push(token) == []
    assert builder.partial == "the"
    start = round((11 - 6) * FRAME_S, 2)  # the 0 is step 11, counted from 1; the text is 6 whole frames late
    (word,) = builder.push(PAD)
    assert (word.text, word.start, word.end) == ("the", start, round(start + 2 * FRAME_S, 2))
    for token in [PAD, PAD, BOUNDARY]:
        assert builder.push(token) == []
    assert builder.words[0].end == round((16 - 6) * FRAME_S, 2), "it extends to the start of the next word"
    assert builder.push(le) == []
    assert [word.text for word in builder.finish(end_s=2.0)] == ["le"]


def test_words_without_a_boundary_between_them_are_separate(
    sentencepiece: SentencePieceProcessor, tokenizer: Tokenizer
) -> None:
    the, re, le = (sentencepiece.piece_to_id(piece) for piece in ("▁the", "re", "▁le"))
    words = words_of(tokenizer, [PAD] * 10 + [BOUNDARY, the, re, le, PAD])
    assert [word.text for word in words] == ["there", "le"]
    assert words[0].end == words[1].start


def test_a_word_does_not_extend_across_a_long_pause(
    sentencepiece: SentencePieceProcessor, tokenizer: Tokenizer
) -> None:
    the = sentencepiece.piece_to_id("▁the")
    words = words_of(tokenizer, [PAD] * 10 + [BOUNDARY, the, PAD] + [PAD] * 50 + [BOUNDARY, the])
    assert words[0].end - words[0].start < 1.3
    assert words[1].start > 4


def test_times_are_monotone_for_any_tokens(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        tokens = rng.choice([BOUNDARY, PAD, *range(4, 256)], size=200, p=[0.2, 0.3] + [0.5 / 252] * 252).tolist()
        words = words_of(tokenizer, tokens, end_s=15.0)
        assert all(word.start < word.end for word in words)
        assert all(a.start <= b.start for a, b in itertools.pairwise(words))


WORDS = [Word("Tom", 0.4, 0.8), Word("&", 0.8, 1.2), Word("<Jerry>", 1.2, 1.76), Word("later", 3725.04, 3726.0)]


def test_srt() -> None:
    assert captions.srt(WORDS) == (
        "1\n00:00:00,400 --> 00:00:01,760\nTom & <Jerry>\n\n2\n01:02:05,040 --> 01:02:06,000\nlater\n"
    )


def test_vtt_escapes_markup() -> None:
    assert captions.vtt(WORDS) == (
        "WEBVTT\n\n00:00:00.400 --> 00:00:01.760\nTom &amp; &lt;Jerry&gt;\n\n01:02:05.040 --> 01:02:06.000\nlater\n"
    )


def test_no_words_give_an_empty_file() -> None:
    assert captions.srt([]) == ""
    assert captions.vtt([]) == "WEBVTT\n"
    assert json.loads(captions.to_json([])) == []


def test_cues_fit_a_line() -> None:
    words = [Word("something", i * 0.4, i * 0.4 + 0.4) for i in range(40)]
    lines = [line for line in captions.srt(words).splitlines() if "something" in line]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 42


def posted(words: list[Word], n_words: int) -> dict[int, dict[str, Any]]:
    """The cues of a page by index, after updates of `n_words` words with a partial word before each, and the end."""
    live, cues = captions.LiveCues(), dict[int, dict[str, Any]]()
    for start in range(0, len(words), n_words):
        for new, partial in (([], "par"), (words[start : start + n_words], "")):
            cues |= {cue["index"]: cue for cue in live.update(new, partial, 0.0)}
    return cues | {cue["index"]: cue for cue in live.finish(words)}


def check_cues(words: list[Word], n_cues: int) -> None:
    """The cues of a page are those of a file."""
    cues = posted(words, 3)
    assert list(cues) == list(range(n_cues))
    assert " ".join(cue["text"] for cue in cues.values()).split() == [word.text for word in words]
    lines = [
        f"\n{captions._clock(cue['start'], '.')} --> {captions._clock(cue['end'], '.')}\n{cue['text']}\n"
        for cue in cues.values()
    ]
    assert captions.vtt(words) == "".join(["WEBVTT\n", *lines])


HALF_LINE = "a" * (MAX_LINE_CHARACTERS // 2)


@pytest.mark.parametrize(
    ("words", "n_cues"),
    [
        ([], 0),
        ([Word(HALF_LINE, 0, 1), Word(HALF_LINE[1:], 1, 2)], 1),
        ([Word(HALF_LINE, 0, 1), Word(HALF_LINE, 1, 2)], 2),
        ([Word("𝄞" * len(HALF_LINE), 0, 1), Word("𝄞" * (len(HALF_LINE) - 1), 1, 2)], 1),
        ([Word("a" * (MAX_LINE_CHARACTERS + 1), 0, 1), Word("a", 1, 2)], 2),
        ([Word("a", 0, 1), Word("a", 1, MAX_CUE_S)], 1),
        ([Word("a", 0, 1), Word("a", 1, MAX_CUE_S + 0.01)], 2),
        ([Word("a", 0, 1), Word("a", 1 + PAUSE_S, 2)], 1),
        ([Word("a", 0, 1), Word("a", 1.01 + PAUSE_S, 2)], 2),
        ([Word(HALF_LINE, 0, 0), Word(HALF_LINE, 0, 0)], 2),
    ],
)
def test_cues_start_where_the_rule_requires(words: list[Word], n_cues: int) -> None:
    check_cues(words, n_cues)


def test_cues_of_a_long_talk() -> None:
    """Words of all lengths without gaps, and some pauses."""
    rng = np.random.default_rng(0)
    words, frame = list[Word](), 0
    for _ in range(500):
        frame += int(rng.choice([0, 0, 0, 1, 9, 10, 11, 12]))
        start, frame = frame, frame + int(rng.integers(1, 9))
        words.append(Word("é" * int(rng.integers(1, 14)), round(start * FRAME_S, 2), round(frame * FRAME_S, 2)))
    check_cues(words, len(captions.srt(words).split("\n\n")))


def test_newest_cue_of_a_page_ends_with_the_partial_word() -> None:
    live = captions.LiveCues()
    assert live.update([], "one", 0.4) == [], "there is no cue yet"
    assert live.update([Word("one", 0, 0.5)], "t", 0.6) == [{"index": 0, "start": 0, "end": 0.6, "text": "one t"}]
    assert live.update([], "<t", 0.7) == [{"index": 0, "start": 0, "end": 0.7, "text": "one &lt;t"}]
    two, three = live.update([Word("<two", 0.5, 0.9), Word("three", 2, 3)], "", 3.1)
    assert two == {"index": 0, "start": 0, "end": 0.9, "text": "one &lt;two"}
    assert three == {"index": 1, "start": 2, "end": 3, "text": "three"}
    assert live.update([], "", 3.5) == [three]


def test_final_end_times_of_the_cues_of_a_page() -> None:
    live = captions.LiveCues()
    live.update([Word("one", 0, 0.5), Word("two", 3, 3.5)], "", 4)
    ends = [cue["end"] for cue in live.finish([Word("one", 0, 0.4), Word("two", 3, 3.25)])]
    assert ends == [0.4, 3.25]
