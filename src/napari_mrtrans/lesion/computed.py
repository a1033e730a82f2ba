"""Which voxels of a prediction are one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def computed_only(prediction: NDArray, axis: int, *, region_only: bool = False, std: NDArray | None = None) -> NDArray:
    """A prediction (3-D, axial slices along ``axis``) with NaN in slices that are 0 throughout.

    Such a slice was not computed, or holds no head: a file says 0 for both. Returned as it is where there is none.

    Args:
        prediction: The mean.
        axis: Array axis of the axial slices.
        region_only: It is of a region of interest alone: NaN wherever it is 0, and ``std``, too.
        std: Its standard deviation, same shape.
    """
    others = tuple(other for other in range(prediction.ndim) if other != axis)
    unknown = ~np.any(prediction, axis=others, keepdims=True)
    if region_only:
        unknown = unknown | ((prediction == 0) & (True if std is None else std == 0))
    if not unknown.any():
        return prediction
    out: NDArray = np.where(unknown, np.float32(np.nan), prediction)
    return out
