"""Compares the confidences of words with their errors, and fits the calibration of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tympan.cli.site import ROOT
from tympan.cli.word_errors import aligned, words_of
from tympan.confidence import Calibration, log_odds
from tympan.weights.manifest import Manifest

if TYPE_CHECKING:
    from bench.wer import Utterance

DEMO_MANIFEST = ROOT / "static" / "models" / "demo" / "model.json"
N_BINS = 10
N_FOLDS = 5
MIN_WRONG = 20  # words of each kind that an area under the curve needs

ScoredWords: TypeAlias = list[tuple[float, bool]]  # confidence of each recognized word, and whether it is right


class CalibrationData:
    """The scored words of all sets."""

    def __init__(self, model: str) -> None:
        """model: as of `Options`; "" for the demo model."""
        self._words: dict[str, ScoredWords] = {}
        # Confidences are undone, so that the result does not depend on the calibration in use.
        self._used = (_demo_manifest().calibration if not model else None) or Calibration()

    def add(self, name: str, utterance: Utterance, result: dict[str, Any]) -> None:
        """Add an utterance of the set `name`. result: of the page."""
        if utterance.text:
            self._words.setdefault(name, []).extend(score(result["words"], utterance.text))

    def result(self) -> dict[str, Any]:
        """Areas under the curve, reliability, and the fitted calibration."""
        everything = [word for words in self._words.values() for word in words]
        raw = [
            ((log_odds(confidence) - self._used.offset) / self._used.slope, right) for confidence, right in everything
        ]
        fitted = fit(raw)
        return {
            "auc": area_under_curve(everything),
            "sets": {name: _of_set(words) for name, words in self._words.items()},
            "n_words": len(everything),
            "slope": round(fitted.slope, 4),
            "offset": round(fitted.offset, 4),
            **cross_validated(raw),
        }


def score(words: Sequence[dict[str, Any]], text: str) -> ScoredWords:
    """The confidence of each recognized word, and whether it is right, by the best alignment with the text."""
    recognized = [(part, word["confidence"]) for word in words for part in words_of(word["text"])]
    pairs = aligned(words_of(text), [part for part, _ in recognized])
    is_right = [reference == part for reference, part in pairs if part is not None]
    return [(confidence, right) for (_, confidence), right in zip(recognized, is_right, strict=True)]


def area_under_curve(words: ScoredWords) -> float | None:
    """The probability that a right word has a larger confidence than a wrong one; None with too few of either."""
    confidences = np.array([confidence for confidence, _ in words])
    is_right = np.array([right for _, right in words], bool)
    n_right, n_wrong = int(is_right.sum()), int((~is_right).sum())
    if min(n_right, n_wrong) < MIN_WRONG:
        return None
    ordered = np.sort(confidences[~is_right])
    below = np.searchsorted(ordered, confidences[is_right], "left")
    not_above = np.searchsorted(ordered, confidences[is_right], "right")
    return round(float((below + not_above).sum() / 2 / (n_right * n_wrong)), 4)


def fit(words: Sequence[tuple[float, bool]]) -> Calibration:
    """The calibration with the largest likelihood. words: log odds of each, and whether it is right."""
    x = np.array([[log_odds, 1.0] for log_odds, _ in words])
    y = np.array([right for _, right in words], np.float64)
    weights = np.array([1.0, 0.0])
    for _ in range(30):  # Newton's method
        p = 1 / (1 + np.exp(-(x @ weights)))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        weights += np.linalg.solve(curvature, x.T @ (y - p))
    return Calibration(float(weights[0]), float(weights[1]))


def cross_validated(words: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Reliability of confidences whose calibration was fitted to other words: every fifth word is a fold.

    Returns `bins`, each with the mean confidence, the share of right words and their number, and `calibration_error`,
    the mean difference of the two.
    """
    x, y = np.array([log_odds for log_odds, _ in words]), np.array([right for _, right in words], np.float64)
    fold, confidence = np.arange(len(words)) % N_FOLDS, np.empty(len(words))
    for n in range(N_FOLDS):
        trained = fit([word for word, other in zip(words, fold, strict=True) if other != n])
        confidence[fold == n] = 1 / (1 + np.exp(-(trained.slope * x[fold == n] + trained.offset)))
    index = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    bins = [
        {
            "confidence": round(float(confidence[index == n].mean()), 4),
            "right": round(float(y[index == n].mean()), 4),
            "n": int((index == n).sum()),
        }
        for n in range(N_BINS)
        if (index == n).any()
    ]
    error = sum(part["n"] * abs(part["confidence"] - part["right"]) for part in bins) / len(words)
    return {"bins": bins, "calibration_error": round(error, 4)}


def keep_calibration(result: dict[str, Any]) -> None:
    """Write the fitted calibration to the manifest of the demo model."""
    calibration = Calibration(result["confidence"]["slope"], result["confidence"]["offset"])
    DEMO_MANIFEST.write_text(_demo_manifest().with_calibration(calibration).serialize(), "utf-8")


def _demo_manifest() -> Manifest:
    return Manifest.parse(DEMO_MANIFEST.read_bytes())


def _of_set(words: ScoredWords) -> dict[str, Any]:
    right = float(np.mean([right for _, right in words])) if words else 0.0
    return {"auc": area_under_curve(words), "n_words": len(words), "right": round(right, 4)}
