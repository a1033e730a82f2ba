"""Save a layer as NIfTI on the grid of the file it came from: *File > Save*.

napari-nifti's own writer saves images that it has read. This one also knows the samples' fourth axis, labels, and
layers that napari or the user made on top of an image, which lie where that image lies but do not say where.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..paths import write_together
from ..scan.volume import describe
from ..transformation.names import synthetic
from .file_grid import FileGrid
from .source import RESULT_KEY, assumed_affine, assumed_axis, recorded_affine

_PLACEMENT = ("scale", "translate", "rotate", "shear")
#: Types that every NIfTI program reads, narrowest first.
_INTEGERS = (np.uint8, np.int16, np.int32)


def write_nifti(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one image or labels layer to ``path`` (.nii or .nii.gz).

    Args:
        path: The file.
        data: 3-D; or 4-D, samples first if they are ours, else last.
        attributes: Of the layer, as napari hands them to a writer.

    Raises:
        VolumeError: RGB, multiscale, complex, or of other dimensions.
        MrtransError: the file cannot be written.
    """
    name = attributes.get("name", "layer")
    if attributes.get("rgb") or attributes.get("multiscale"):
        kind = "RGB" if attributes.get("rgb") else "multiscale"
        raise VolumeError(f"'{name}' is {kind}; NIfTI takes one scalar volume.")
    array = np.asarray(data)
    if array.ndim not in (3, 4) or array.dtype.kind not in "buif":
        what = f"{array.ndim}-D" if array.ndim not in (3, 4) else str(array.dtype)
        raise VolumeError(f"'{name}' is {what}; expected a 3-D volume, or 4-D samples, of real numbers.")
    metadata, scale = attributes.get("metadata", {}), np.asarray(attributes["scale"])
    made = metadata.get(RESULT_KEY, {})
    if array.ndim == 4 and made.get("kind") == "samples" and not made.get("reopened"):
        array, scale = np.moveaxis(array, 0, -1), np.roll(scale, -1)
    shape = array.shape[:3]
    affine = recorded_affine(metadata)
    if affine is None:
        metadata = _neighbour(attributes, array.shape)
        affine = recorded_affine(metadata)
    if affine is None:
        affine = assumed_affine(scale[:3], assumed_axis(metadata))
    grid = FileGrid.of(shape, affine, metadata)
    record = metadata.get(RESULT_KEY, {})
    if record and array.dtype.kind == "f":
        array = np.nan_to_num(array)  # not computed; as 0 every program reads it, and it is so in what transform writes
    descrip = synthetic(record) if "checkpoint" in record and "target" in record else ""
    image = _image(grid, _storable(array), descrip)
    target = Path(path)
    write_together(target.parent, {target.name: image.to_filename}, "Choose another place.")
    return [path]


def _image(grid: FileGrid, array: NDArray[Any], descrip: str) -> nib.Nifti1Image:
    kind = nib.Nifti2Image if isinstance(grid.header, nib.Nifti2Header) else nib.Nifti1Image
    header = None if grid.header is None else grid.header.as_byteswapped(nib.volumeutils.native_code)
    image = kind(grid.array(array), grid.affine, header, dtype=array.dtype)
    describe(image.header, descrip)
    return image


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """In a type that NIfTI programs read, without loss."""
    if array.dtype.kind == "f":
        return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array.astype(np.float64)


def _neighbour(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Metadata of an open layer of the same shape in the same place that knows its affine; empty without one."""
    import napari

    viewer = napari.current_viewer()
    for layer in viewer.layers if viewer is not None else ():
        if getattr(layer.data, "shape", None) != shape or recorded_affine(layer.metadata) is None:
            continue
        here = np.asarray(attributes["affine"]), *(np.asarray(attributes[key]) for key in _PLACEMENT)
        there = layer.affine.affine_matrix, *(np.asarray(getattr(layer, key)) for key in _PLACEMENT)
        if all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(here, there, strict=True)):
            return dict(layer.metadata)
    return {}
