"""Where a layer's file says that it lies, as its reader has left it in the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

#: napari-nifti writes this key next to ``affine``; its presence tells the S, A, R voxel order.
NIFTI_READER_KEY = "coordinate_system"


def of_four_axes(metadata: Mapping[str, Any]) -> bool:
    """Whether the reader made a layer of a 4-D file: its affine is of four axes, the last of which is no place."""
    affine: Any = metadata.get("affine")
    return NIFTI_READER_KEY in metadata and np.shape(affine) == (5, 5)


def recorded_affine(metadata: Mapping[str, Any], shape: Sequence[int] | None = None) -> NDArray[np.float64] | None:
    """The affine (array index to RAS mm) recorded in a layer's metadata, or None.

    ``shape``: of the layer. Where the file that it was read from has another one, the layer is a part that was cut out,
    say, and the file's affine is not its own.
    """
    recorded: Any = metadata.get("affine")
    read = NIFTI_READER_KEY in metadata
    if read and shape is not None and not _as_in_file(metadata, shape):
        return None
    if of_four_axes(metadata):
        recorded = np.asarray(recorded)[np.ix_([0, 1, 2, 4], [0, 1, 2, 4])]
    if recorded is None or np.shape(recorded) != (4, 4):
        return None
    affine = np.array(recorded, dtype=np.float64)
    return affine[:, [2, 1, 0, 3]] if read else affine


def _as_in_file(metadata: Mapping[str, Any], shape: Sequence[int]) -> bool:
    """Whether a layer has as many voxels as the header that its reader left, along axes in whatever order."""
    header = metadata.get("header")
    sizes = shape[:3] if of_four_axes(metadata) else shape[-3:]
    return not isinstance(header, nib.Nifti1Header) or sorted(sizes) == sorted(header.get_data_shape()[:3])
