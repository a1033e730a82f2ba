"""Contour levels of an image, made slice by slice when they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

#: Lines at these multiples of the step.
MULTIPLES = (1, 2, 3)
#: Pixels; lines about single noisy voxels would hide the image.
SMOOTH = 1.0


class Levels:
    """What napari needs of a labels array (shape, dtype, indexing): how many levels each voxel of ``data`` reaches.

    Args:
        data: Not negative; NaN reaches none.

    Attributes:
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
        return np.searchsorted(np.array(MULTIPLES) * self.step, values, side="right").astype(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)
