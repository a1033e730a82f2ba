"""Volumes and SimpleITK images: the same voxels, RAS+ millimetres on our side, LPS+ on its side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..scan.grid import ras_affine
from ..scan.intensity import clean
from ..scan.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

#: SimpleITK takes every core it sees; a brain at 2 mm gains little from more than these.
THREADS = 2

_LPS = np.diag([-1.0, -1.0, 1.0])


@contextmanager
def threads() -> Iterator[None]:
    """Run SimpleITK with :data:`THREADS` threads."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def to_image(data: NDArray, affine: NDArray[np.float64]) -> sitk.Image:
    """An image of ``data`` (i, j, k) whose space is that of the affine, of any handedness, obliquity and shear."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(np.transpose(data)))
    sizes = nib.affines.voxel_sizes(affine)
    image.SetSpacing([float(size) for size in sizes])
    image.SetDirection((_LPS @ (affine[:3, :3] / sizes)).ravel())
    image.SetOrigin(_LPS @ affine[:3, 3])
    return image


def to_array(image: sitk.Image) -> NDArray:
    """Voxels in (i, j, k) order."""
    import SimpleITK as sitk

    return np.asarray(sitk.GetArrayFromImage(image)).T


def affine_of(image: sitk.Image) -> NDArray[np.float64]:
    """4x4, voxel index to RAS millimetres."""
    return ras_affine(image.GetDirection(), image.GetSpacing(), image.GetOrigin())


def working_image(volume: Volume, spacing: float) -> sitk.Image:
    """A volume for registration: cubes of ``spacing`` mm, bright outliers clipped, [0, 1].

    Raises:
        VolumeError: too few slices, or voxels too long, to see a head in three dimensions.
    """
    import SimpleITK as sitk

    extent = np.array(volume.data.shape) * volume.voxel_sizes
    if min(volume.data.shape) < 5 or volume.voxel_sizes.max() > 12.0 or extent.min() < 40.0:
        raise VolumeError(
            f"'{volume.name}' is {' x '.join(map(str, volume.data.shape))} voxels of "
            f"{' x '.join(f'{size:.3g}' for size in volume.voxel_sizes)} mm; preparing it needs at least 5 slices of "
            f"at most 12 mm that cover 40 mm. Prepare it elsewhere and give the result."
        )
    data = clean(volume.data)
    top = float(np.percentile(data[data > 0], 99.0))
    image = to_image(np.clip(data / top, 0.0, 1.0), volume.affine)
    for axis, size in enumerate(image.GetSpacing()):
        if size < spacing:
            image = sitk.RecursiveGaussian(
                image, 0.4 * spacing, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    cubes = sitk.Resample(image, cube_grid(image, spacing), sitk.Transform(), sitk.sitkLinear, 0.0)
    # The blur leaves ripples in what was exactly 0, which is how a stripped volume is told.
    return sitk.Threshold(cubes, 1e-3, 2.0, 0.0)


def cube_grid(image: sitk.Image, spacing: float) -> sitk.Image:
    """An empty image of cubes that covers the field of view of ``image``, in its directions but without shear."""
    import SimpleITK as sitk
    from scipy.linalg import polar

    sheared = np.reshape(image.GetDirection(), (3, 3))
    direction = polar(sheared)[0]
    sizes, spacings = np.array(image.GetSize()), np.array(image.GetSpacing())
    corners = np.array(list(np.ndindex(2, 2, 2))) * sizes - 0.5
    ends = (corners * spacings) @ (direction.T @ sheared).T  # mm from the first voxel, along the cubes' axes
    size = np.maximum(np.round(np.ptp(ends, axis=0) / spacing), 1).astype(int)
    grid = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    grid.SetSpacing([spacing] * 3)
    grid.SetDirection(direction.ravel())
    grid.SetOrigin(image.GetOrigin() + direction @ (ends.min(axis=0) + spacing / 2.0))
    return grid


def coarser(image: sitk.Image, spacing: float) -> sitk.Image:
    """The same field of view in larger cubes, blurred accordingly."""
    import SimpleITK as sitk

    blurred = sitk.SmoothingRecursiveGaussian(image, 0.5 * spacing)
    return sitk.Resample(blurred, cube_grid(image, spacing), sitk.Transform(), sitk.sitkLinear, 0.0)


def centre_of(mask: NDArray[np.bool_], image: sitk.Image) -> NDArray[np.float64]:
    """Centre of mass of a mask on the grid of ``image``, in SimpleITK's millimetres."""
    return np.array(image.TransformContinuousIndexToPhysicalPoint(np.argwhere(mask).mean(axis=0).tolist()))


def to_transform(matrix: NDArray[np.float64]) -> sitk.Transform:
    """SimpleITK's form of a 4x4 in RAS millimetres."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix((_LPS @ matrix[:3, :3] @ _LPS).ravel())
    transform.SetTranslation(_LPS @ matrix[:3, 3])
    return transform


def resample(volume: Volume, onto: Volume, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """A volume on the grid of another: cubic B-splines, nothing below 0 or above its maximum.

    It is 0 outside its view and where it is 0 all around, where splines alone leave traces: stripped stays stripped.

    Args:
        volume: What is resampled.
        onto: Its grid is taken.
        matrix: 4x4, from RAS millimetres of ``onto`` to those of ``volume``.
    """
    import SimpleITK as sitk

    data = clean(volume.data)
    with threads():
        image, grid = to_image(data, volume.affine), to_image(onto.data, onto.affine)
        transform = to_transform(matrix)
        moved = to_array(sitk.Resample(image, grid, transform, sitk.sitkBSpline3, 0.0))
        there = to_array(sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0))
    return np.where(there > 0, np.clip(moved, 0.0, data.max()), np.float32(0))
