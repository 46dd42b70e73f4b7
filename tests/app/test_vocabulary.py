"""Reading a vocabulary, and the tokens that spell its terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from tests.app.fake_model import audio, sentence, transcriber
from tests.app.golden import GOLDEN, golden
from tests.awaiting import run
from tympan.errors import TooManyTerms
from tympan.lm.reference import Reference
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabulary import BOOST, MAX_TERMS, MAX_WEIGHT, Term, read_terms, spellings
from tympan.transcriber import Transcriber

DEMO = Path(__file__).parents[2] / "static" / "models" / "demo"
TOKENIZERS = [DEMO / "tokenizer.model", GOLDEN / "tokenizer.model"]  # a unigram model and a BPE model
WORDS = [
    *("the", "people", "reading", "Kowalski", "bydgoszcz", "mississippi", "a", "x", "isn't", "abernathy", "zzz"),
    *("strengthlessness", "the-end"),
]


def test_a_line_is_a_term_and_its_weight() -> None:
    text = "# names\n\nKowalski\n  New   York : 2.5 \nStar Wars: A New Hope\nratio 1:2\n"
    assert read_terms(text) == (
        Term("Kowalski"),
        Term("New York", 2.5),
        Term("Star Wars: A New Hope"),
        Term("ratio 1", 2.0),
    )


def test_terms_come_as_lines_objects_or_terms() -> None:
    assert read_terms(["A: 2", {"text": " B  C "}, {"text": "D", "weight": 3}, Term("E"), ""]) == (
        Term("A", 2),
        Term("B C"),
        Term("D", 3),
        Term("E"),
    )
    assert read_terms([]) == read_terms("") == ()


def test_of_equal_terms_the_last_counts_and_weights_are_limited() -> None:
    assert read_terms("A: 2\nB: 99\nA: 3") == (Term("A", 3), Term("B", MAX_WEIGHT))
    assert read_terms([{"text": "A", "weight": -1}]) == (Term("A", 0),)


def test_a_vocabulary_has_a_limit() -> None:
    assert len(read_terms([f"term {n}" for n in range(MAX_TERMS)])) == MAX_TERMS
    with pytest.raises(TooManyTerms, match="1001 terms; 1000"):
        read_terms([f"term {n}" for n in range(MAX_TERMS + 1)])


@pytest.mark.parametrize("path", TOKENIZERS, ids=["unigram", "bpe"])
def test_words_are_split_like_sentencepiece_does(path: Path) -> None:
    tokenizer = Tokenizer.from_bytes(path.read_bytes())
    official = SentencePieceProcessor(model_file=str(path))
    n_encoded = 0
    for word in WORDS:
        wanted = official.encode(word)
        if min(wanted) >= 4:  # no unknown character
            assert tokenizer.encode_word(word) == wanted
            n_encoded += 1
        else:
            assert tokenizer.encode_word(word) == []
    assert n_encoded >= 5


@pytest.mark.parametrize("path", TOKENIZERS, ids=["unigram", "bpe"])
def test_the_tokens_of_a_word_decode_to_it(path: Path) -> None:
    tokenizer = Tokenizer.from_bytes(path.read_bytes())
    letters = [piece.decode() for piece in tokenizer.pieces[4:] if len(piece) == 1 and piece.decode("utf-8", "ignore")]
    rng = np.random.default_rng(0)
    for _ in range(200):
        word = "".join(rng.choice(letters, rng.integers(1, 12)))
        if ids := tokenizer.encode_word(word):
            assert tokenizer.decode(ids) == word
            assert [i for i, id in enumerate(ids) if tokenizer.begins_word(id)] == [0]


def test_spellings_vary_in_capitals() -> None:
    tokenizer = Tokenizer.from_bytes((GOLDEN / "tokenizer.model").read_bytes())
    found = spellings([Term("new york", 1.5), Term("YORK")], tokenizer)
    texts = [" ".join(tokenizer.decode(word) for word in words) for words, _ in found]
    assert texts == ["new york", "New York", "york"], "the model has no K and no R"
    assert {boost for _, boost in found} == {BOOST, 1.5 * BOOST}


def test_terms_of_a_large_vocabulary_get_a_smaller_boost() -> None:
    tokenizer = Tokenizer.from_bytes((DEMO / "tokenizer.model").read_bytes())
    boosts = [
        spellings([Term(f"{a}{b}") for a in "abcdefgh" for b in words], tokenizer)[0][1]
        for words in (["at"], ["at", "in"], [chr(97 + n % 26) * (1 + n // 26) for n in range(100)])
    ]
    assert boosts[0] == boosts[1] == BOOST
    assert 0.2 * BOOST < boosts[2] < 0.5 * BOOST


def test_a_spelling_that_the_model_cannot_write_is_left_out() -> None:
    tokenizer = Tokenizer.from_bytes((DEMO / "tokenizer.model").read_bytes())
    assert len(spellings([Term("Łódź"), Term("Zachary")], tokenizer)) == 1, "only lower case"


def test_terms_change_the_text_of_a_stream() -> None:
    """Every token of the golden stream that is close to the best one can be raised."""
    official = Transcriber(
        golden().mimi, Reference(golden().lm_config, golden().lm_weights), transcriber()[0].tokenizer
    )
    plain = run(official.transcribe(golden().pcm))
    others = [other.text for word in plain.words for other in word.alternatives]
    assert others
    raised = run(official.transcribe(golden().pcm, terms=[{"text": text, "weight": 10} for text in others]))
    assert raised.text != plain.text
    assert run(official.transcribe(golden().pcm)).text == plain.text, "terms belong to one recording"


def test_the_trie_of_the_newest_vocabulary_is_kept() -> None:
    fake, _ = transcriber()
    first = fake._trie(read_terms("the"))
    assert fake._trie(read_terms(["the"])) is first
    assert fake._trie(read_terms("a")) is not first
    assert run(fake.transcribe(audio(sentence(1, 2)), terms="the")).words
