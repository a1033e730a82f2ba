"""Where a layer's file says that it lies, as its reader has left it in the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

#: napari-nifti writes this key next to ``affine``; its presence tells the S, A, R voxel order.
NIFTI_READER_KEY = "coordinate_system"
#: Of the turn of a file's axes: rounding of a header.
_TOLERANCE = 0.01


def of_four_axes(metadata: Mapping[str, Any]) -> bool:
    """Whether the reader made a layer of a 4-D file: its affine is of four axes, the last of which is no place."""
    affine: Any = metadata.get("affine")
    return NIFTI_READER_KEY in metadata and np.shape(affine) == (5, 5)


def recorded_affine(metadata: Mapping[str, Any], shape: Sequence[int] | None = None) -> NDArray[np.float64] | None:
    """The affine (array index to RAS mm) recorded in a layer's metadata, or None.

    ``shape``: of the layer. Where the file that it was read from has another one, the layer is a part that was cut out,
    say, or its axes are in another order, and the file's affine is not its own.
    """
    recorded: Any = metadata.get("affine")
    read = NIFTI_READER_KEY in metadata
    if of_four_axes(metadata):
        recorded = np.asarray(recorded)[np.ix_([0, 1, 2, 4], [0, 1, 2, 4])]
    if recorded is None or np.shape(recorded) != (4, 4):
        return None
    affine = np.array(recorded, dtype=np.float64)
    if read and shape is not None and not _as_in_file(metadata, affine, shape):
        return None
    return affine[:, [2, 1, 0, 3]] if read else affine


def _as_in_file(metadata: Mapping[str, Any], affine: NDArray[np.float64], shape: Sequence[int]) -> bool:
    """Whether a layer has, along each axis, as many voxels as the header that its reader left says of it."""
    header = metadata.get("header")
    if not isinstance(header, nib.Nifti1Header):
        return True
    sizes = tuple(shape[:3] if of_four_axes(metadata) else shape[-3:])
    in_file = header.get_data_shape()[:3]
    if sorted(sizes) != sorted(in_file):
        return False
    try:
        linear = np.abs(np.linalg.solve(header.get_best_affine()[:3, :3], affine[:3, :3]))
    except np.linalg.LinAlgError:
        return True
    turn = linear.round()  # from the file's axes to R, A, S
    known = np.allclose(linear, turn, atol=_TOLERANCE) and np.array_equal(turn @ turn.T, np.eye(3))
    return not known or sizes == tuple((in_file @ turn)[::-1])
