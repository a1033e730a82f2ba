"""A quantile of values that come block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RunningQuantile:
    """A quantile of many non-negative values in [0, 1] seen block by block, from a histogram."""

    def __init__(self, bins: int = 2048) -> None:
        self._counts = np.zeros(bins, dtype=np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Count one block; values above 1 count as 1."""
        bins = len(self._counts)
        index = np.minimum((values * bins).astype(np.int64), bins - 1)
        self._counts += np.bincount(index, minlength=bins)

    def value(self, quantile: float) -> float:
        """The upper edge of the bin where ``quantile`` falls; 0 before any value."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        index = int(np.searchsorted(np.cumsum(self._counts), quantile * total))
        return (index + 1) / len(self._counts)
