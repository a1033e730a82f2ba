"""Contour lines of an image, drawn slice by slice when they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, generate_binary_structure, grey_erosion

from .lazy import LazyArray

#: Lines at these multiples of the step.
MULTIPLES = (1, 2, 3)
#: Pixels; lines about single noisy voxels would hide the image.
SMOOTH = 1.0


class Contours(LazyArray):
    """What napari needs of an array (shape, dtype, indexing): contour lines of ``data``, a voxel thick.

    A voxel on the inner border of the region above a level has the number of levels that it reaches, any other has 0.
    An image of them, not a labels layer: napari compiles a colormap of labels for seconds when the first one is added.

    Args:
        data: Not negative; NaN reaches no level.
        step: The lowest level; the others are its :data:`MULTIPLES`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, data: NDArray[np.float32], step: float) -> None:
        self._data = data
        self.step = step
        self.shape, self.ndim, self.size = data.shape, data.ndim, data.size

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        values = np.nan_to_num(np.asarray(self._data[key], np.float32))
        if values.ndim == 2:
            values = gaussian_filter(values, SMOOTH)
        reached = np.searchsorted(np.array(MULTIPLES) * self.step, values, side="right").astype(np.uint8)
        if values.ndim == 0:
            return reached
        around = generate_binary_structure(values.ndim, 1)
        border: NDArray[np.bool_] = reached > grey_erosion(reached, footprint=around, mode="nearest")
        return reached * border

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)
