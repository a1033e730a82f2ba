"""The layers of one model of a comparison: those of any run, and with a reference the error of the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ..layers import ResultLayers

if TYPE_CHECKING:
    from ...transformation.streaming import SliceUpdate

#: Upper contrast limit of every error layer: the same for all models, or they could not be compared by eye.
ERROR_LIMIT = 0.3


class ComparedLayers(ResultLayers):
    """Mean and std of one model, and its error |mean - reference| where it is :attr:`measured`.

    Attributes:
        measured: There will be a reference.
        reference: Normalised, on the grid of the mean, NaN where unknown, as is the error. Set it before the first
            slice.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.measured = False
        self.reference: NDArray[np.float32] | None = None

    def add(self, update: SliceUpdate, *, shown: bool = True) -> None:
        """Write one finished slice."""
        super().add(update, shown=shown)
        if self.measured and self.reference is not None:
            where = self._where(update.index)
            self._arrays["error"][where] = np.abs(update.mean - self.reference[where])

    def _volumes(self) -> dict[str, NDArray[np.float32]]:
        volumes = super()._volumes()
        if self.measured:
            volumes["error"] = np.full(self._shape, np.nan, np.float32)
        return volumes

    def _image(self, kind: str) -> Image:
        layer = super()._image(kind)
        if kind == "error":
            layer.colormap = "inferno"
            layer.contrast_limits = (0.0, ERROR_LIMIT)
        return layer
