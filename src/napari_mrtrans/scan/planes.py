"""A volume seen from another side: its coronal or sagittal slices in place of the axial ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from .contrasts import Contrast
from .grid import Orientation
from .volume import Volume

Plane = Literal["axial", "coronal", "sagittal"]

#: The canonical axes (slice, row, column) of a view, as axes of the axial one: from the side, rows run from below up.
VIEWS: dict[Plane, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
#: Weight of the axial view, whose network has learned most; the others share the rest.
AXIAL = 0.5
#: Voxels longer than this, in mm, show too little of the anatomy from the side.
LONGEST_MM = 2.0
#: From the side, heads of less than this, in mm across the slices, are strips, of which a network makes worse slices.
SHORTEST_MM = 50.0


def check_voxels(volume: Volume) -> None:
    """See that a volume can be looked at from the side.

    Raises:
        VolumeError: its voxels are too long.
    """
    if (longest := float(volume.voxel_sizes.max())) > LONGEST_MM:
        raise VolumeError(
            f"Three planes take voxels of {LONGEST_MM:g} mm at most; those of '{volume.name}' are {longest:.1f} mm. "
            "Leave three planes out."
        )


def check_height(height: float, name: str) -> None:
    """See that there is enough of a head to look at it from the side.

    Args:
        height: Of the head across its axial slices, in mm.
        name: Of the volume.

    Raises:
        VolumeError: there is too little.
    """
    if height < SHORTEST_MM:
        raise VolumeError(
            f"Three planes take {SHORTEST_MM:g} mm of head across the slices at least; '{name}' has {height:.0f} mm. "
            "Leave three planes out."
        )


def seen_from(volume: Volume, plane: Plane) -> Volume:
    """The same voxels on a straight grid whose axial slices are the volume's slices of ``plane``."""
    axes, orientation = VIEWS[plane], Orientation.from_affine(volume.affine)
    sizes = volume.voxel_sizes[list(orientation.order)][list(axes)]
    return straight(orientation.to_canonical(volume.data).transpose(axes), sizes, volume.contrast, volume.name)


def straight(images: NDArray, spacing: Iterable[float], contrast: Contrast | None, name: str) -> Volume:
    """Slices (slice, row, column) in canonical order, so many mm apart along each axis, as a volume."""
    affine = np.diag([*[float(size) for size in spacing][::-1], 1.0])
    return Volume(np.ascontiguousarray(images.transpose(2, 1, 0)), affine, contrast, name)
