"""Regions of interest and images of other layers on the voxels of one image layer.

A region goes from its layer to the world and from there to the image's voxels, whatever the two layers' shapes: napari
does not give a new Labels or Shapes layer the placement of the image while two layers are selected. Two images are
related by their NIfTI affines where both have one, because napari's world is not the scanner's; so are a region and an
image, where the region tells on which image it was made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

from ...errors import MrtransError
from ...lesion.measure import box_around
from ...scan.masked import unmarked, unmasked
from ...scan.resample import resample
from ..assumed import unit_ratios
from ..placement import lie_alike, place_of
from ..recorded import NIFTI_READER_KEY, of_four_axes
from ..source import check_layer, nifti_affine, scanner_affine

#: Vertices are rounded to this part of a voxel: one that was set on a voxel's centre must not miss it by 1e-15.
DECIMALS = 3
#: A shape may lean out of a slice by this many voxels.
FLAT = 0.5
#: Of a 4x4 between voxels: a rounded header, not another place.
ELSEWHERE = 1e-3
#: In voxels: rounded on the way, not moved.
AS_READ = 0.01


def between(here: Layer, there: Layer) -> NDArray[np.float64]:
    """4x4, voxel index of ``here`` to voxel index of ``there`` through napari's world; the last three axes of both."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    ratios = unit_ratios(here.units[-3:], there.units[-3:])
    outer = np.ones(max(here.ndim, there.ndim) - 3)
    factors = np.concatenate([outer, ratios])[-here.ndim :]
    mapped = np.array([there.world_to_data(here.data_to_world(corner) * factors)[-3:] for corner in corners])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (mapped[1:] - mapped[0]).T, mapped[0]
    return affine


def image_on(layer: Image, like: Image, box: tuple[slice, ...] | None) -> NDArray:
    """The intensities of ``layer`` on the voxels of ``like`` in ``box``, NaN where it has none.

    Raises:
        VolumeError: ``layer`` is not one 3-D scalar image.
    """
    check_layer(layer)
    return resample(unmasked(layer.data), image_to_image(like, layer), like.data.shape, box=box)


def image_to_image(like: Image, layer: Image) -> NDArray[np.float64]:
    """4x4, voxel index of ``like`` to voxel index of ``layer``, by their NIfTI affines where both have one."""
    affine, own = scanner_affine(like), scanner_affine(layer)
    return between(like, layer) if affine is None or own is None else np.linalg.inv(own) @ affine


def shown_elsewhere(layer: Image, like: Image) -> bool:
    """Whether the window shows ``layer`` in another place on ``like`` than :func:`image_to_image` has it: files whose
    fields of view differ, for the reader mirrors each about its own middle, and what was moved by hand."""
    return not np.allclose(between(like, layer), image_to_image(like, layer), atol=ELSEWHERE)


def moved_by_hand(*layers: Layer) -> list[str]:
    """A line on each layer that no longer lies where the NIfTI reader has put it: its affine counts all the same."""
    return [
        f"'{layer.name}' was moved or scaled in the window, which does not count: it lies where its file says."
        for layer in layers
        if not _as_read(layer)
    ]


def _as_read(layer: Layer) -> bool:
    """Whether a layer lies where the reader has put it, who mirrors each axis about its own middle; or it has none."""
    affine = nifti_affine(layer)
    if affine is None or layer.ndim != 3 or NIFTI_READER_KEY not in layer.metadata or isinstance(layer, Shapes):
        return True
    sizes = voxel_sizes(affine)
    read = np.diag([*-sizes, 1.0])
    read[:3, 3] = affine[2::-1, 3] + (np.array(layer.data.shape) - 1) * sizes
    corners = np.vstack([np.zeros(3), np.eye(3) * (np.array(layer.data.shape) - 1)])
    lies = np.array([layer.data_to_world(corner) for corner in corners])
    return bool((np.abs(lies - apply_affine(read, corners)) < AS_READ * sizes).all())


def roi_to_image(layer: Labels | Shapes, like: Image, among: Iterable[Layer] = ()) -> NDArray[np.float64]:
    """4x4, voxel index of a region to voxel index of ``like``.

    By scanner affines, as images, where ``like`` has one and the region, too: its own (a mask that was opened), or that
    of the image on which it was made and still lies, one of ``among``. Else through napari's world, in which files
    whose fields of view differ lie apart by twice as much.
    """
    affine = scanner_affine(like)
    if affine is None or lie_alike(place_of(layer), place_of(like)):
        return between(layer, like)
    own = scanner_affine(layer)
    if own is None:
        made_on = (one for one in among if isinstance(one, Image) and lie_alike(place_of(layer), place_of(one)))
        own = next((found for one in made_on if (found := scanner_affine(one)) is not None), None)
    return between(layer, like) if own is None else np.linalg.inv(affine) @ own


def roi_on(layer: Labels | Shapes, like: Image, among: Iterable[Layer] = (), *, what: str = "ROI") -> NDArray[np.bool_]:
    """What is marked in ``layer``, on the voxels of ``like``; nothing where nothing is marked.

    Axes before the last three (those of a 4-D layer that napari makes beside a stack of samples) do not matter, nor
    does the fourth one of a file. ``among``: layers on one of which it may have been made (:func:`roi_to_image`).
    ``what``: it is called so where it cannot be used.

    Raises:
        MrtransError: not a 3-D layer, shapes that lie across the slices, or all that is marked is outside ``like``.
    """
    if layer.ndim < 3:
        raise MrtransError(f"'{layer.name}' is {layer.ndim}-D; mark the {what} in a 3-D layer made on '{like.name}'.")
    if isinstance(layer, Shapes):
        mask, marked = _rasterised(layer, like, roi_to_image(layer, like, among)), layer.nshapes > 0
    else:
        mask, marked = _painted(layer, like, roi_to_image(layer, like, among))
    if marked and not mask.any():
        raise MrtransError(f"The {what} does not overlap '{like.name}'.")
    return mask


def _painted(layer: Labels, like: Image, to_image: NDArray[np.float64]) -> tuple[NDArray[np.bool_], bool]:
    data = unmarked(layer.data[0] if layer.multiscale else layer.data) != 0
    data = data.any(axis=3 if of_four_axes(layer.metadata) else tuple(range(data.ndim - 3)))
    shape = like.data.shape
    inner = box_around(data, 0)
    if inner is None:
        return np.zeros(shape, dtype=bool), False
    corners = [*itertools.product(*((part.start - 0.5, part.stop - 0.5) for part in inner))]
    mapped = apply_affine(to_image, corners)
    low = np.clip(np.floor(mapped.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(mapped.max(axis=0)).astype(int) + 1, low, shape)
    box = tuple(itertools.starmap(slice, zip(low.tolist(), high.tolist(), strict=True)))
    if (low == high).any():
        return np.zeros(shape, dtype=bool), True
    back = np.asarray(np.linalg.inv(to_image), np.float64)
    return resample(data.astype(np.uint8), back, shape, order=0, box=box) > 0, True


def _rasterised(layer: Shapes, like: Image, to_voxels: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(like.data.shape, dtype=bool)
    for vertices, kind in zip(layer.data, layer.shape_type, strict=True):
        corners = np.round(apply_affine(to_voxels, np.asarray(vertices)[:, -3:]), DECIMALS)
        lean = np.ptp(corners, axis=0)
        axis = int(lean.argmin())
        if lean[axis] > FLAT:
            raise MrtransError(
                f"A shape of '{layer.name}' lies across the slices of '{like.name}'; draw it in one slice, or paint "
                "labels."
            )
        planes = np.moveaxis(mask, axis, 0)
        index = round(float(corners[:, axis].mean()))
        if 0 <= index < len(planes):
            flat = Shapes([np.delete(corners, axis, axis=1)], shape_type=kind)
            planes[index] |= flat.to_masks(planes.shape[1:])[0]
    return mask
