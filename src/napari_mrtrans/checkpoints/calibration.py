"""What makes a checkpoint's uncertainty mean something: the correction of its spread, and its OOD calibration.

It is fitted after training, by ``napari-mrtrans-train calibrate``, and kept in a JSON file beside the checkpoint
(``NAME.calibration.json``), because a lab may calibrate a shipped checkpoint on scans of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..ood.score import OodCalibration

#: Two-sided 90 % of a normal distribution lie within this many standard deviations.
Z90 = 1.6448536


class SpreadCorrection(BaseModel):
    """std -> sqrt(floor² + (factor · std)² + (slope · (mean - pivot))²), so that errors of the mean lie within it as a
    normal distribution says.

    Attributes:
        floor: What all samples get wrong together everywhere.
        factor: Mends a spread that is too narrow or too wide.
        slope: How far off the strength of the contrast may be, which all samples guess alike where a scanner's is not
            known: a gain about the head's median, as session effects have it.
        pivot: That median, in the target's units [0, 1].
    """

    model_config = ConfigDict(extra="forbid")

    floor: float = Field(ge=0)
    factor: float = Field(ge=0)
    slope: float = Field(0.0, ge=0)
    pivot: float = Field(0.0, ge=0, le=1)

    def __call__(self, std: NDArray[np.floating], mean: NDArray[np.floating]) -> NDArray[np.float32]:
        """Of the samples' standard deviation and mean, arrays of one shape in the target's units."""
        contrast = self.slope * (mean - self.pivot)
        return np.sqrt(self.floor**2 + np.square(self.factor * std) + np.square(contrast)).astype(np.float32)

    @classmethod
    def fit(
        cls, std: NDArray[np.floating], contrast: NDArray[np.floating], error: NDArray[np.floating]
    ) -> SpreadCorrection:
        """Maximum likelihood of normal errors, then scaled so that 90 % of them lie in the central 90 % interval.

        Its pivot is 0: it takes ``contrast`` for the mean.

        Args:
            std: Population standard deviation of the samples in voxels of validation subjects, any shape.
            contrast: Their mean less the pivot, same shape.
            error: Truth minus mean, same shape.
        """
        from scipy.optimize import minimize

        s2, c2, e2 = (np.square(np.asarray(a, dtype=np.float64).ravel()) for a in (std, contrast, error))

        def likelihood(logs: NDArray[np.floating]) -> float:
            variance = np.exp(logs[0]) + np.exp(logs[1]) * s2 + np.exp(logs[2]) * c2
            return float(np.mean(np.log(variance) + e2 / variance))

        third = e2.mean() / 3
        start = np.log([third + 1e-12, *(third / max(part.mean(), 1e-12) + 1e-12 for part in (s2, c2))])
        found = minimize(likelihood, start, method="Nelder-Mead", options={"maxiter": 2000})
        floor, factor, slope = np.exp(found.x / 2)
        raw = cls(floor=floor, factor=factor, slope=slope if c2.any() else 0.0)
        return raw.scaled(float(np.quantile(np.abs(error) / raw(std, contrast), 0.9)) / Z90)

    def about(self, pivot: float) -> SpreadCorrection:
        """The same for means, whose pivot this is."""
        return self.model_copy(update={"pivot": float(f"{pivot:.4g}")})

    def not_narrower(self, std: NDArray[np.floating], mean: NDArray[np.floating]) -> SpreadCorrection:
        """The same, or scaled until it leaves ``std`` as wide as they are on average."""
        return self.scaled(max(1.0, float(np.mean(std)) / max(float(self(std, mean).mean()), 1e-12)))

    def scaled(self, by: float) -> SpreadCorrection:
        """The same, ``by`` times as wide."""
        wide = {name: float(f"{getattr(self, name) * by:.4g}") for name in ("floor", "factor", "slope")}
        return self.model_copy(update=wide)


class Calibration(BaseModel):
    """Everything that was fitted for one checkpoint.

    Attributes:
        card: Digest of the card it belongs to; another checkpoint's calibration is refused.
        spread: For each pair, written as ``T1->T2``.
        ood: None where it was not fitted.
        about: How and on whom it was fitted.
    """

    model_config = ConfigDict(extra="forbid")

    card: str
    spread: dict[str, SpreadCorrection] = {}
    ood: OodCalibration | None = None
    about: dict[str, Any] = {}
