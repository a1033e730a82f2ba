"""Masks: which voxels are inside, and on whose grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from .field_of_view import millimetres, stated_unit
from .grid import corners_apart, same_grid, turned_towards
from .masked import unmarked
from .nifti import as_one_volume, open_nifti, read_voxels, unoriented_line, without_trailing_ones
from .volume import Volume, check_affine

#: Values within this of whole numbers, or this share of the maximum, are labels that went through a scale factor,
#: of 8 bits at worst.
_ROUNDING, _SCALED, _LARGEST = 1e-3, 2e-3, 0.25
#: Whole numbers are a scale (percent, 0 to 255) rather than labels where more than so many differ and so large a share
#: of those above 0 lies within a tenth of the maximum: the plateau of a resampled mask, whose border takes every value
#: below. An atlas has gaps between its labels, and numbered lesions are of one value each.
_LABELS, _PLATEAU = 20, 0.25


def inside(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a mask is inside: above 0, or, where it has fractional values or a scale, above half of its maximum.

    A mask that was resampled has ripples and a soft rim, of which half is the border. NaN is outside, and so is what is
    masked of a masked array.
    """
    return np.asarray(_finite(values) > border(values), dtype=np.bool_)


def checked_mask(mask: NDArray[np.generic], volume: Volume) -> NDArray[np.bool_]:
    """``mask`` as booleans (:func:`inside`).

    Raises:
        VolumeError: it is not on the grid of ``volume``, or empty.
    """
    array = unmarked(mask)
    if array.shape != volume.data.shape:
        raise VolumeError(
            f"The mask has shape {array.shape}, '{volume.name}' has {volume.data.shape}; they must lie on one grid. "
            "Resample the mask onto the volume."
        )
    if array.dtype.kind not in "buif":
        raise VolumeError(f"The mask holds {array.dtype}, not labels. Give whole numbers.")
    found = inside(array)
    if not found.any():
        raise VolumeError("The mask is empty. Give another, or none.")
    return found


def border(values: NDArray[Any]) -> float:
    """The value above which a mask is inside: 0 for labels, half of the maximum for fractions and scales (percent)."""
    array = _finite(values)
    if array.dtype.kind == "b":
        return 0.0
    top = float(array.max(initial=0.0))
    if _fractional(array, top):
        return top / 2 if top > 0 else 0.0
    if top > _LABELS and _is_scale(array, top):
        return top / 2
    return 0.5 if array.dtype.kind == "f" and top > 0.5 else 0.0


def _fractional(array: NDArray[Any], top: float) -> bool:
    close = min(max(_ROUNDING, _SCALED * top), _LARGEST)
    return array.dtype.kind == "f" and bool((np.abs(array - np.round(array)) > close).any())


def _is_scale(array: NDArray[Any], top: float) -> bool:
    above = array[array > 0]
    plateau = (above >= 0.9 * top).mean() >= _PLATEAU and len(np.unique(np.round(above))) > _LABELS
    return bool(plateau and np.histogram(above, 5, (0, top))[0].all()) and not _numbered(array)


def _numbered(array: NDArray[Any]) -> bool:
    """Whether most of what is above 0 lies in pieces of one value each, as numbered lesions do; a scale has a rim."""
    from scipy import ndimage

    pieces, count = ndimage.label(array > 0)
    mixed = np.zeros(count + 1, dtype=bool)
    for axis in range(array.ndim):
        value, piece = np.moveaxis(array, axis, 0), np.moveaxis(pieces, axis, 0)
        mixed[piece[1:][(value[1:] != value[:-1]) & (piece[1:] > 0) & (piece[:-1] > 0)]] = True
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    return bool(2 * sizes[1:][~mixed[1:]].sum() > sizes[1:].sum())


def read_mask(path: str | Path, like: Volume, say: Callable[[str], None] = lambda line: None) -> NDArray[np.bool_]:
    """A mask file on the grid of ``like``, also with its axes turned or flipped; may be empty.

    Args:
        path: NIfTI; see :func:`inside`.
        like: A volume whose voxels are those of the mask.
        say: Told where the border was drawn through fractional values or a scale, and where no orientation is stated.

    Raises:
        VolumeError: unreadable, or on another grid.
    """
    mask, affine = load_mask(path, say)
    turned, grid = turned_towards(mask, affine, like.affine)
    if not same_grid(turned.shape, grid, like.data.shape, like.affine):
        why = f"it has {_size(turned)} voxels, and that {_size(like.data)}"
        if turned.shape == like.data.shape:
            why = f"its corners are up to {corners_apart(turned.shape, grid, like.affine):.2g} mm away"
        raise VolumeError(
            f"The mask '{Path(path).name}' does not lie on the grid of '{like.name}': {why}. Resample it onto it."
        )
    return np.asarray(turned, dtype=bool)


def load_mask(
    path: str | Path, say: Callable[[str], None] = lambda line: None
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """A mask file, 3-D, may be empty, and its affine (voxel index to RAS millimetres).

    Raises:
        VolumeError: unreadable, not one 3-D volume of real numbers, or its affine is of no use.
    """
    path = Path(path)
    image = open_nifti(path)
    if image.get_data_dtype().names:
        raise VolumeError(f"The mask '{path.name}' is RGB; expected one 3-D volume of whole numbers.")
    data = without_trailing_ones(read_voxels(image, path))
    if data.ndim != 3:
        raise VolumeError(
            f"The mask '{path.name}' is {data.ndim}-D; expected one 3-D volume. {as_one_volume(data.ndim)}"
        )
    if data.dtype.kind not in "buif":
        kind = "complex" if np.iscomplexobj(data) else str(data.dtype)
        raise VolumeError(f"The mask '{path.name}' is {kind}; expected one 3-D volume of whole numbers.")
    if line := unoriented_line(image.header, path.name):
        say(line)
    affine = check_affine(image.affine, path.name)
    affine[:3] *= millimetres(affine, data.shape, stated_unit(image.header))
    half = border(data)
    known = _finite(data)
    mask = np.asarray(known > half, dtype=np.bool_)
    if (count := int((known > 0).sum())) != mask.sum():
        where, top = f"half of its maximum ({half:.3g})", float(known.max())
        if _fractional(known, top):
            what = "fractional values"
        elif half > 0.5:
            what = f"a scale from 0 to {top:.0f}, not labels"
        else:
            what, where = "labels that are not quite whole numbers", f"{half:.3g}"
        say(f"'{path.name}' has {what}: voxels above {where} are inside, {int(mask.sum())} of {count} above 0.")
    return mask, affine


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    array = unmarked(values)
    if array.dtype.kind != "f":
        return array
    known = np.where(np.isfinite(array), array, 0)
    return np.nan_to_num(array, nan=0.0, posinf=float(known.max(initial=0.0)), neginf=0.0)


def _size(data: NDArray[np.generic]) -> str:
    return " x ".join(map(str, data.shape))
