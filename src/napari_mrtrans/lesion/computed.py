"""Which slices of a prediction are one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def computed_only(prediction: NDArray, axis: int) -> NDArray:
    """A prediction (3-D, axial slices along ``axis``) with NaN in slices that are 0 throughout.

    Such a slice was not computed, or holds no head: a file says 0 for both. Returned as it is where there is none.
    """
    others = tuple(other for other in range(prediction.ndim) if other != axis)
    empty = ~np.any(prediction, axis=others)
    if not empty.any():
        return prediction
    out = np.array(prediction, dtype=np.float32)
    np.moveaxis(out, axis, 0)[empty] = np.nan
    return out
