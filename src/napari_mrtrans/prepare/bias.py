"""Bias field: the slow change of brightness over a head that coils make.

N4: Tustison, N. J. et al. N4ITK: improved N3 bias correction. IEEE TMI 29, 1310-1320 (2010), as SimpleITK has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..scan.intensity import clean
from ..scan.volume import Volume
from .images import cube_grid, threads, to_array, to_image

#: The field is smooth: it is estimated, and kept, on cubes of this many mm.
SPACING = 4.0
#: Iterations at each of N4's resolutions.
ITERATIONS = (40, 40, 30)


def log_bias(volume: Volume, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Logarithm of the field that multiplies the volume, 0 on average inside ``mask``, on cubes of ``SPACING`` mm.

    Raises:
        VolumeError: there is too little of it, such as a single slice.
    """
    try:
        return _log_bias(volume, mask)
    except RuntimeError:  # SimpleITK's, whose text tells nothing to who has not written N4
        raise VolumeError(
            f"No bias field can be estimated from '{volume.name}' ({' x '.join(map(str, volume.data.shape))} voxels); "
            "leave that out (prepare --no-bias), or correct it elsewhere."
        ) from None


def _log_bias(volume: Volume, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    import SimpleITK as sitk

    with threads():
        image = to_image(clean(volume.data), volume.affine)
        grid = cube_grid(image, SPACING)
        small = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0)
        inside = sitk.Resample(
            to_image(mask.astype(np.uint8), volume.affine), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0
        )
        inside = sitk.And(inside, sitk.Cast(small > 0, sitk.sitkUInt8))
        if not to_array(inside).any():
            raise RuntimeError("nothing to estimate it from")
        filter_ = sitk.N4BiasFieldCorrectionImageFilter()
        filter_.SetMaximumNumberOfIterations(ITERATIONS)
        filter_.Execute(small, inside)
        field = to_array(filter_.GetLogBiasFieldAsImage(small))
    return np.asarray(field - field[to_array(inside) > 0].mean(), dtype=np.float32)


def remove_bias(volume: Volume, field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The volume's intensities, at least 0, divided by the field of :func:`log_bias`."""
    import SimpleITK as sitk

    with threads():
        image = to_image(clean(volume.data), volume.affine)
        grid = cube_grid(image, SPACING)
        small = sitk.GetImageFromArray(np.ascontiguousarray(field.T))
        small.CopyInformation(grid)
        # Half a cube at the rim lies outside the coarse grid's centres: nearest value there, not none.
        smooth = sitk.Resample(small, image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    return np.asarray(to_array(image) * np.exp(-to_array(smooth)), dtype=np.float32)
