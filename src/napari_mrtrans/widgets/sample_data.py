"""The built-in sample brain as a napari layer, laid out as napari-nifti lays out a file."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..scan.sample import sample_volume
from ..scan.volume import Volume
from .recorded import NIFTI_READER_KEY

LayerData = tuple[NDArray[np.float32], dict[str, Any], str]


def icbm152() -> list[LayerData]:
    """The ICBM 152 template brain (T1, 1 mm): superior slices first on the slider, anterior up."""
    return [layer_of(sample_volume())]


def layer_of(volume: Volume) -> LayerData:
    """A volume as napari-nifti would open its file: axes S, A, R, the true affine in the metadata."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))
    data = np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0))
    size = nib.affines.voxel_sizes(image.affine)[::-1]
    corner = image.affine[:3, 3][::-1] + (np.array(data.shape) - 1) * size
    metadata = {"affine": image.affine, NIFTI_READER_KEY: "RAS+", "header": image.header}
    placement = {"name": volume.name, "scale": tuple(-size), "translate": tuple(corner), "metadata": metadata}
    return data, placement, "image"
