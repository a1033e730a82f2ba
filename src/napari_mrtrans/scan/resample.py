"""One array onto another's grid through the affine between their voxels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def resample(
    data: NDArray,
    to_data: NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    order: Literal[0, 1] = 1,
    box: tuple[slice, ...] | None = None,
) -> NDArray:
    """``data`` at the voxels of a grid of ``shape``; NaN where those are more than half a voxel outside ``data``.

    On the same grid, ``data`` itself. Finer structure than the grid's is not smoothed away first.

    Args:
        data: 3-D.
        to_data: 4x4, voxel index of the grid to voxel index of ``data``.
        shape: Of the grid.
        order: 1 = linear, 0 = nearest neighbour.
        box: Only these voxels of the grid, the others are NaN.
    """
    from scipy.ndimage import affine_transform

    if data.shape == shape and np.allclose(to_data, np.eye(4), atol=1e-6):
        return data
    if data.dtype == np.float16:  # scipy knows none
        data = data.astype(np.float32)
    box = box or tuple(slice(0, size) for size in shape)
    linear = to_data[:3, :3]
    offset = to_data[:3, 3] + linear @ [part.start for part in box]
    size = tuple(part.stop - part.start for part in box)
    out = np.full(shape, np.nan, dtype=np.float32 if data.dtype.itemsize <= 4 else np.float64)
    # scipy's modes either blend the edge with what is beyond or lose it to rounding: repeat it, then mask.
    found = affine_transform(data, linear, offset, size, output=out.dtype, order=order, mode="nearest")
    covered = affine_transform(np.ones(data.shape, np.uint8), linear, offset, size, order=0, mode="grid-constant")
    out[box] = np.where(covered, found, np.nan)
    return out
