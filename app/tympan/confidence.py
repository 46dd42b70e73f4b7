"""The confidence of a word: the probability that it is right, from the probabilities of its tokens.

    p = the product of the probabilities
    confidence = 1 / (1 + exp(-(slope * ln(p / (1 - p)) + offset)))

`tympan bench confidence` fits the two numbers to the words of the test sets (Platt scaling, on log odds); the model's
manifest keeps them. Source: Platt, "Probabilistic outputs for support vector machines" (1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, prod

MIN_P = 1e-4  # p is limited to MIN_P .. 1 - MIN_P


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), for a probability limited to MIN_P .. 1 - MIN_P."""
    limited = min(max(probability, MIN_P), 1 - MIN_P)
    return log(limited / (1 - limited))


@dataclass(frozen=True)
class Calibration:
    """The map from the probability of a word's tokens to its confidence. The default leaves p as it is."""

    slope: float = 1.0
    offset: float = 0.0

    def confidence(self, probabilities: Sequence[float]) -> float:
        """The confidence of a word in (0, 1), rounded to four digits. probabilities: of its tokens."""
        return round(1 / (1 + exp(-(self.slope * log_odds(prod(probabilities)) + self.offset))), 4)
