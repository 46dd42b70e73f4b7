"""Normalizes transcripts: lower case, apostrophes, numbers as words, no other marks."""

import re
import unicodedata

from .grammar import ONES, ORDINALS, TENS, number_words
from .text import LABEL_CHARS

_ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "mt": "mount"}
_SYMBOLS = {"&": " and ", "%": " per cent", "+": " plus ", "=": " equals ", "@": " at ", "$": " dollars "}
_NAMES = {o: number for number, o in enumerate(ORDINALS, 1)}


def normalise(text: str) -> str | None:
    """Spell a transcript with `LABEL_CHARS`. Returns None if a mark or a letter cannot be spelled with them."""
    text = unicodedata.normalize("NFKD", text).replace("\u2019", "'").replace("\u2018", "'")
    text = "".join(c for c in text if not unicodedata.combining(c)).replace("\u0142", "l").replace("\u00f8", "o")
    for symbol, words in _SYMBOLS.items():
        text = text.replace(symbol, words)
    text = text.lower()
    text = re.sub(r"(\d),(?=\d{3}\b)", r"\1", text)
    text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1 \2", text)
    text = re.sub(r"[-\u2010-\u2015/]", " ", text)
    text = re.sub(r"[.,;:!?\"()\[\]\u201c\u201d\u201e\u2026*_]", " ", text)
    out = list[str]()
    tokens = text.split()
    for index, token in enumerate(tokens):
        token = token.strip("'") if token.strip("'") not in ("tis", "twas", "em", "til") else token
        if not token:
            continue
        if token.isdigit():
            ordinal = index + 1 < len(tokens) and tokens[index + 1] in ("st", "nd", "rd", "th")
            number = _ordinal(int(token)) if ordinal else _cardinal(token)
            if number is None:
                return None
            out += number.split()
        elif token in ("st", "nd", "rd", "th") and index and tokens[index - 1].isdigit():
            continue
        else:
            out.append(_ABBREVIATIONS.get(token, token))
    label = " ".join(out)
    return label if label and all(c in LABEL_CHARS for c in label) else None


def _cardinal(digits: str) -> str | None:
    """Spell a number as it is read: years in pairs, long ones digit by digit."""
    n = int(digits)
    if len(digits) > 1 and digits[0] == "0":
        return " ".join(ONES[int(d)] for d in digits)
    if 1100 <= n <= 1999 or 2010 <= n <= 2099:
        high, low = divmod(n, 100)
        rest = "hundred" if low == 0 else ("oh " + ONES[low] if low < 10 else number_words(low))
        return f"{number_words(high)} {rest}"
    return number_words(n) if n < 1_000_000 else None


def _ordinal(n: int) -> str | None:
    if 1 <= n <= len(ORDINALS):
        return ORDINALS[n - 1]
    if n < 100:
        tens, ones = divmod(n, 10)
        return f"{TENS[tens]} {ORDINALS[ones - 1]}" if ones else TENS[tens].removesuffix("y") + "ieth"
    return None
