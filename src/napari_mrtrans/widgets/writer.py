"""Save a layer as NIfTI on the grid of the file it came from: *File > Save*.

napari-nifti's own writer saves images that it has read. This one also knows the samples' fourth axis, labels, and
layers that napari or the user made on top of an image, which lie where that image lies but do not say where.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from ..errors import VolumeError
from ..paths import write_together
from ..scan.masked import unmarked, unmasked
from ..scan.volume import describe
from ..transformation.names import synthetic
from .assumed import AXIAL_KEY, assumed_affine, assumed_axis, placed_in_mm
from .file_grid import FileGrid
from .lesion.roi import between, moved_by_hand
from .placement import PLACEMENT, lying_there
from .recorded import NIFTI_READER_KEY, of_four_axes, recorded_affine
from .reopened import is_corrected
from .source import RESULT_KEY, nifti_affine

if TYPE_CHECKING:
    from napari.layers import Layer

#: Of voxels that are as large and turned as another image's.
_SAME_VOXELS = 1e-3
#: Types that every NIfTI program reads, narrowest first.
_INTEGERS = (np.uint8, np.int16, np.int32)


def write_nifti(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one image or labels layer to ``path`` (.nii or .nii.gz).

    Args:
        path: The file.
        data: 3-D; or 4-D: the axis that is no place first in what a run or napari has stacked, else last.
        attributes: Of the layer, as napari hands them to a writer.

    Raises:
        VolumeError: RGB, multiscale, complex, or of other dimensions.
        MrtransError: the file cannot be written.
    """
    name = attributes.get("name", "layer")
    if attributes.get("rgb") or attributes.get("multiscale"):
        kind = "RGB" if attributes.get("rgb") else "multiscale"
        raise VolumeError(f"'{name}' is {kind}; NIfTI takes one scalar volume.")
    array = unmasked(data) if "rgb" in attributes else unmarked(data)
    if array.ndim not in (3, 4) or array.dtype.kind not in "buif":
        what = f"{array.ndim}-D" if array.ndim not in (3, 4) else str(array.dtype)
        raise VolumeError(f"'{name}' is {what}; expected a 3-D volume, or 4-D samples, of real numbers.")
    metadata = attributes.get("metadata", {})
    made = metadata.get(RESULT_KEY, {})
    affine = recorded_affine(metadata, array.shape)
    here = _lying_as(attributes, array.shape)
    placed = placed_in_mm(here)
    for line in moved_by_hand(here):
        show_warning(line)
    lying = _lying_there(attributes, array.shape) if affine is None else []
    if affine is None:
        found: dict[str, Any] = next((dict(one.metadata) for one in lying if nifti_affine(one) is not None), {})
        of_samples = found.pop(RESULT_KEY, {}).get("kind") == "samples"
        if array.ndim == 4 and of_samples and array.dtype.kind in "bui":  # what napari makes beside them
            array = array.max(axis=_outer_axis(found))
        if found:
            metadata, affine = found, recorded_affine(found)
    if array.ndim == 4 and _outer_axis(metadata, made) == 0:
        array, placed = np.moveaxis(array, 0, -1), np.roll(placed, -1, axis=(0, 1))
    shape = array.shape[:3]
    if affine is None and not made and not any(isinstance(one, Image) for one in lying):
        other = _sharing_most(here)
        # an image of no file, of other voxels and extent, is saved by its own axes, whatever it happens to lie on
        alone = "rgb" in attributes and NIFTI_READER_KEY not in metadata
        if other is not None and (theirs := nifti_affine(other)) is not None:
            onto = between(here, other)
            same = np.allclose(onto[:3, :3], np.eye(3), atol=_SAME_VOXELS) or _fills(onto, shape, other.data.shape[-3:])
            affine = None if alone and not same else theirs @ onto
    if affine is None:
        show_warning(f"No open image says where '{name}' lies in the scanner; the file says it by its axes alone.")
        axes_of = next((one.metadata for one in lying if AXIAL_KEY in one.metadata), metadata)
        affine = assumed_affine(placed[:3, :3], assumed_axis(metadata if AXIAL_KEY in metadata else axes_of))
    grid = FileGrid.of(shape, affine, metadata)
    record = metadata.get(RESULT_KEY, {})
    if record and array.dtype.kind == "f":
        array = np.nan_to_num(array)  # not computed; as 0 every program reads it, and it is so in what transform writes
    descrip = ""
    if "checkpoint" in record and "target" in record and array.dtype.kind == "f":  # a mask is nobody's answer
        kind = record.get("kind", "mean")
        descrip = synthetic(record, f"{kind}-calibrated" if is_corrected(record) else kind)
    image = _image(grid, _storable(array), descrip)
    target = Path(path)
    write_together(target.parent, {target.name: image.to_filename}, "Choose another place.")
    return [path]


def _outer_axis(metadata: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> int:
    """The axis of a 4-D layer that is no place: the last one in a file, and where nothing is known, but the first one
    in a stack that a run made (``made``: what it says of itself), or napari of layers that know where they lie."""
    if of_four_axes(metadata):
        return 3
    return 0 if made or recorded_affine(metadata) is not None else 3


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


def _lying_as(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> Image:
    """An empty image of the name, in the place and with the metadata of a layer."""
    own = {key: attributes[key] for key in (*PLACEMENT, "affine", "units", "name", "metadata") if key in attributes}
    return Image(np.broadcast_to(np.float32(0), shape), rgb=False, contrast_limits=(0, 1), **own)


def _sharing_most(here: Layer) -> Layer | None:
    """Of the open layers that know where they lie, that with which a 3-D one has most of napari's world in common; None
    where it lies beside all of them."""
    known = [layer for layer in _open_layers() if nifti_affine(layer) is not None]
    shared = [(_shared(here, layer), layer) for layer in known]
    most, other = max(shared, key=lambda found: found[0], default=(0.0, None))
    return other if most > 0 and here.ndim == 3 else None


def _fills(onto: NDArray[np.float64], shape: tuple[int, ...], field: tuple[int, ...]) -> bool:
    """Whether what was binned, resampled or flipped has another image's field of view, but for a voxel of either.

    Args:
        onto: 4x4, its voxel index to that image's.
        shape: Its voxels.
        field: That image's.
    """
    corners = apply_affine(onto, np.array(list(product(*((-0.5, n - 0.5) for n in shape)))))
    ends = np.array([corners.min(axis=0), corners.max(axis=0)])
    voxel = np.maximum(np.abs(onto[:3, :3]).sum(axis=1), 1)
    return bool((np.abs(ends - [np.full(3, -0.5), np.array(field) - 0.5]) <= voxel).all())


def _shared(here: Layer, there: Layer) -> float:
    """How much of napari's world two layers have in common, along the last three axes."""
    first, second = (np.asarray(layer.extent.world)[:, -3:] for layer in (here, there))
    return float(np.prod(np.clip(np.minimum(first[1], second[1]) - np.maximum(first[0], second[0]), 0, None)))


def _lying_there(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> list[Image | Labels]:
    """The other open layers of the same shape in the same place; names tell layers of a window apart."""
    there = lying_there(shape, attributes, _open_layers())
    return [layer for layer in there if layer.name != attributes.get("name")]


def _open_layers() -> list[Layer]:
    import napari

    viewer = napari.current_viewer()
    return [] if viewer is None else list(viewer.layers)
