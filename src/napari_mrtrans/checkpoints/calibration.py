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
    """std -> sqrt(floor² + (factor · std)²), so that errors of the mean lie within it as a normal distribution says.

    ``floor`` is what all samples get wrong together; ``factor`` mends a spread that is too narrow or too wide.
    """

    model_config = ConfigDict(extra="forbid")

    floor: float = Field(ge=0)
    factor: float = Field(ge=0)

    def __call__(self, std: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.hypot(self.floor, self.factor * std).astype(np.float32)

    @classmethod
    def fit(cls, std: NDArray[np.floating], error: NDArray[np.floating]) -> SpreadCorrection:
        """Maximum likelihood of normal errors, then scaled so that 90 % of them lie in the central 90 % interval.

        Args:
            std: Population standard deviation of the samples in voxels of validation subjects, any shape.
            error: Truth minus mean, same shape.
        """
        from scipy.optimize import minimize

        s2, e2 = (np.square(np.asarray(a, dtype=np.float64).ravel()) for a in (std, error))

        def likelihood(logs: NDArray[np.floating]) -> float:
            variance = np.exp(logs[0]) + np.exp(logs[1]) * s2
            return float(np.mean(np.log(variance) + e2 / variance))

        start = np.log([0.5 * e2.mean() + 1e-12, 0.5 * e2.mean() / max(s2.mean(), 1e-12) + 1e-12])
        floor, factor = np.exp(minimize(likelihood, start, method="Nelder-Mead").x / 2)
        scale = np.quantile(np.sqrt(e2 / (floor**2 + factor**2 * s2)), 0.9) / Z90
        return cls(floor=floor, factor=factor).scaled(scale)

    def not_narrower(self, std: NDArray[np.floating]) -> SpreadCorrection:
        """The same, or scaled until it leaves ``std`` as wide as they are on average."""
        return self.scaled(max(1.0, float(np.mean(std)) / max(float(self(std).mean()), 1e-12)))

    def scaled(self, by: float) -> SpreadCorrection:
        """The same, ``by`` times as wide."""
        return SpreadCorrection(floor=float(f"{self.floor * by:.4g}"), factor=float(f"{self.factor * by:.4g}"))


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
