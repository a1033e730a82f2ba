"""Pearson's r inside expert masks, from sums that can be added up over people (paper: pooled over all its cases)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

#: Voxels, and sums of prediction, target, their squares and their product.
NAMES = ("n", "p", "t", "pp", "tt", "pt")
#: Fewer voxels always correlate by ±1.
FEWEST = 3


def sums(prediction: NDArray, target: NDArray, lesion: NDArray[np.bool_]) -> list[float]:
    """:data:`NAMES` of one person, over the voxels of ``lesion``; all arrays of one shape."""
    p, t = prediction[lesion].astype(np.float64), target[lesion].astype(np.float64)
    return [float(len(p)), *(float(x.sum()) for x in (p, t, p * p, t * t, p * t))]


def pearson(people: Iterable[Sequence[float]]) -> float | None:
    """r over all voxels of several people's :func:`sums`; None below 3 voxels or where an image is constant."""
    total = np.sum([*people], axis=0)
    if np.ndim(total) == 0 or total[0] < FEWEST:
        return None
    n, p, t, pp, tt, pt = total
    first, second = pp - p * p / n, tt - t * t / n
    if min(first / max(pp, 1e-300), second / max(tt, 1e-300)) < 1e-9:  # rounding, not contrast
        return None
    return float((pt - p * t / n) / np.sqrt(first * second))
