"""Which layers a run leaves, and the arrays behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


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

    def arrays(self, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
        """Zeros by kind, in the order in which layers are added: volumes of ``shape``, the stack (n, *shape)."""
        volumes = ["mean", *([] if self.deterministic else ["std"]), *self.sample_names]
        made = {kind: np.zeros(shape, np.float32) for kind in volumes}
        if self.stacked:
            made["samples"] = np.zeros((self.n, *shape), np.float32)
        return made
