"""Numbers of numpy as the rounded floats that results are written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rounded(value: Any, n_digits: int = 3) -> float:
    """Return a number as a float with so many digits after the point."""
    return round(float(value), n_digits)


def spread(times_ms: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """Return the median and the 95th percentile of times in ms."""
    return {"median_ms": rounded(np.median(times_ms)), "p95_ms": rounded(np.percentile(times_ms, 95))}
