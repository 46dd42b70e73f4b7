"""CMU phones of words that pocketsphinx' dictionary lacks: espeak-ng's American pronunciation, symbol by symbol."""

import re

from .classic_voices import Espeak

# Longest first. Length and stress marks are removed before.
_PHONES = {
    "t\u0283": "CH", "d\u0292": "JH", "a\u026a": "AY", "a\u028a": "AW", "e\u026a": "EY", "o\u028a": "OW",
    "\u0254\u026a": "OY", "\u025a": "ER", "\u025c": "ER", "\u0259l": "AH L", "\u0251": "AA", "\xe6": "AE",
    "\u028c": "AH", "\u0259": "AH", "\u0250": "AH", "\u0254": "AO", "\u0252": "AA", "o": "OW", "\u025b": "EH",
    "e": "EH", "\u026a": "IH", "\u1d7b": "IH", "i": "IY", "\u028a": "UH", "u": "UW", "a": "AA", "y": "UW",
    "b": "B", "d": "D", "\xf0": "DH", "f": "F", "\u0261": "G", "g": "G", "h": "HH", "j": "Y", "k": "K",
    "l": "L", "\u026b": "L", "m": "M", "n": "N", "\u014b": "NG", "p": "P", "\u0279": "R", "r": "R",
    "\u027e": "T", "s": "S", "\u0283": "SH", "t": "T", "\u03b8": "TH", "v": "V", "w": "W", "z": "Z",
    "\u0292": "ZH", "x": "K", "\xe7": "HH", "\u0294": "T", "\u026c": "L", "q": "K", "\u0272": "N Y", "c": "K",
}  # fmt: skip
_SYMBOL = re.compile("|".join(sorted(_PHONES, key=len, reverse=True)))


class Pronouncer:
    """Pronunciations by espeak-ng."""

    def __init__(self) -> None:
        self.espeak = Espeak()

    def __call__(self, word: str) -> str:
        """Return the phones of a word, separated by spaces; empty if there are none."""
        ipa = re.sub("[\u02c8\u02cc\u02d0\u0329\u0303\u02b2 ]", "", self.espeak.phonemes(word))
        return " ".join(_PHONES[s] for s in _SYMBOL.findall(ipa))
