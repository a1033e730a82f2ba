"""What makes a checkpoint's uncertainty mean something: the correction of its spread, and its OOD calibration.

It is fitted after training, by ``napari-mrtrans-train calibrate``, and kept in a JSON file beside the checkpoint
(``NAME.calibration.json``), because a lab may calibrate a shipped checkpoint on scans of its own.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from ..ood.score import OodCalibration
from .correction import SpreadCorrection


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

    @property
    def on_computed(self) -> int:
        """For how many pairs the correction was fitted to computed images."""
        return sum(correction.computed for correction in self.spread.values())
