"""Whether samples are spread as widely as they should be (Kuleshov et al. 2018; paper, Fig. 9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Nominal central levels of the curve.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def pit(samples: NDArray[np.floating], truth: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float64]:
    """Randomised probability integral transform: uniform in [0, 1] if the truth is as one more sample.

    The truth's rank among its n samples (ties broken at random) plus a uniform number, over n + 1. Unlike intervals
    between quantiles of few samples, which are too narrow, this is exact for every n.

    Args:
        samples: (n, ...).
        truth: (...).
        rng: Of the random parts.
    """
    below = (samples < truth).sum(axis=0)
    ties = (samples == truth).sum(axis=0)
    rank = rng.integers(below, below + ties + 1)
    return np.asarray((rank + rng.random(truth.shape)) / (len(samples) + 1))


def coverage(values: NDArray[np.floating], levels: Sequence[float] = LEVELS) -> list[float]:
    """Share of ``values`` (of :func:`pit`) inside the central interval of each nominal level."""
    centred = np.abs(2 * values - 1)
    return [float(np.mean(centred <= level)) for level in levels]


def calibration_error(covered: ArrayLike, levels: Sequence[float] = LEVELS) -> float:
    """Mean |coverage - nominal level| of the curve; 0 is perfectly calibrated."""
    return float(np.mean(np.abs(np.asarray(covered) - np.asarray(levels))))
