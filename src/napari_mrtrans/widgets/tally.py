"""σ̂ and signs of the slices of one run as they come in, and P(OOD) of what is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ood.score import OodCalibration
from ..ood.signs import UNKNOWN, Signs
from ..scan.contrasts import Pair


class SigmaTally:
    """Figures of finished slices.

    Args:
        n_slices: Of the volume.

    Attributes:
        sigma: (n_slices,) σ̂, NaN where unfinished or without a spread.
        signs: Of each slice, see :mod:`napari_mrtrans.ood.signs`.
    """

    def __init__(self, n_slices: int = 0) -> None:
        self._sum = 0.0
        self._voxels = 0
        self.sigma: NDArray[np.float64] = np.full(n_slices, np.nan)
        self.signs = [UNKNOWN] * n_slices

    @property
    def overall(self) -> float:
        """Mean std over the head voxels of the finished slices; nan before the first."""
        return self._sum / self._voxels if self._voxels else float("nan")

    @property
    def count(self) -> int:
        """Slices that have a σ̂ or a novelty."""
        judged = np.array([np.isfinite(signs.novelty) for signs in self.signs], dtype=bool)
        return int((np.isfinite(self.sigma) | judged).sum())

    def add(self, index: int, sigma: float, voxels: int, signs: Signs) -> None:
        """Slice ``index`` is finished: its σ̂ over so many head voxels, and what speaks against the input."""
        self.signs[index] = signs
        if voxels and np.isfinite(sigma):
            self._sum += sigma * voxels
            self._voxels += voxels
            self.sigma[index] = sigma

    def scores(self, n: int, pair: Pair, ood: OodCalibration) -> dict[str, float]:
        """The scores of what was added, for ``n`` samples."""
        return ood.scores(pair.key, n, self.overall, self.sigma, self.signs)

    def probability(self, n: int, pair: Pair, ood: OodCalibration | None) -> float | None:
        """P(OOD), None without a calibration or before anything is known."""
        return None if ood is None or not self.count else ood.assess(self.scores(n, pair, ood))
