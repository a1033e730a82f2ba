"""Which layers a run leaves, and the arrays behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .sparse import SparseSlices


class KeepSamples(StrEnum):
    """Which sample layers a run leaves."""

    NONE = "No"
    STACK = "One 4-D layer"
    SEPARATE = "Separate layers"


@dataclass(frozen=True)
class LayerKinds:
    """Mean, std and samples, as far as a run has and keeps them.

    Attributes:
        n: Samples of each slice, from 1.
        keep: Which sample layers to make.
        deterministic: No std and no samples, whatever ``keep`` says.
        calibrated: The std layer shows the corrected standard deviation where the checkpoint has a correction.
    """

    n: int
    keep: KeepSamples = KeepSamples.NONE
    deterministic: bool = False
    calibrated: bool = True

    @property
    def stacked(self) -> bool:
        """All samples are in one array."""
        return self.keep is KeepSamples.STACK and not self.deterministic

    @property
    def sample_names(self) -> list[str]:
        """The kinds of the samples that have an array each; empty where they have not."""
        if self.keep is not KeepSamples.SEPARATE or self.deterministic:
            return []
        return [f"sample_{k + 1:02d}" for k in range(self.n)]

    def volumes(self, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
        """Mean and std by kind, in the order in which layers are added: NaN, which napari draws as nothing."""
        kinds = ["mean", *([] if self.deterministic else ["std"])]
        return {kind: np.full(shape, np.nan, np.float32) for kind in kinds}

    def samples(self, shape: tuple[int, ...], axis: int) -> dict[str, SparseSlices]:
        """The samples by kind, along ``axis`` of volumes of ``shape``; the stack is (n, *shape)."""
        made = {kind: SparseSlices(shape, axis) for kind in self.sample_names}
        return made | ({"samples": SparseSlices((self.n, *shape), axis + 1)} if self.stacked else {})
