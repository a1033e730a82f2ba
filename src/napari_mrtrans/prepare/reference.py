"""An acquired image made comparable with predictions: in the models' units, on the grid of their input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..scan.contrasts import Contrast
from ..scan.resample import resample
from ..scan.volume import Volume
from .whole_head import fit_for_models

#: Two heads of one person, brought onto one grid, overlap by more than this (Dice), however they were stripped.
SAME_HEAD = 0.85
#: Heads are compared on every so many voxels along each axis.
COARSE = 2


def normalised_on(
    reference: Volume,
    contrast: Contrast,
    head: NDArray[np.bool_],
    to_reference: NDArray[np.float64],
    *,
    name: str,
    prepare: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
    partial: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """An acquired image in normalised units [0, 1], 0 outside its own head, NaN where it has no voxels; and that head.

    On another grid, its own head is where more of a voxel lies inside than outside, and what lies inside alone counts
    there: the black around it darkens no rim.

    Args:
        reference: The acquired image; a whole head is prepared as the models' inputs are.
        contrast: What it shows.
        head: The head on the grid that is wanted.
        to_reference: 4x4, voxel index of that grid to voxel index of ``reference``.
        name: Of the image on that grid, for what is told.
        prepare: See :func:`~napari_mrtrans.prepare.whole_head.fit_for_models`.
        say: Told that it was resampled, or prepared.
        partial: ``head`` may be a part of it, such as a mask's, or a slab's.

    Raises:
        MrtransError: the two do not overlap, or their heads are not those of one person.
    """
    own = fit_for_models(reference, None, prepare, say)
    image, inside = own.normalised(contrast), own.head
    there = resample(image, to_reference, head.shape)
    known = np.isfinite(there)
    if resampled := there is not image:
        share = resample(inside.astype(np.float32), to_reference, head.shape)
        inside = share >= 0.5
        there = np.where(inside, there / np.maximum(share, 0.5), 0 * there)
    if not (known & head).any():
        raise MrtransError(f"'{reference.name}' does not overlap '{name}'. Choose an image of the same head.")
    coarse = (slice(None, None, COARSE),) * 3
    own_head, other = (head & known)[coarse], inside[coarse]
    check_same_head(own_head, other & own_head if partial else other, reference.name, name)
    if resampled:
        say(f"'{reference.name}' lies on another grid than '{name}'; it was resampled.")
    return np.asarray(there, dtype=np.float32), inside


def check_same_head(head: NDArray[np.bool_], other: NDArray[np.bool_], reference: str, name: str) -> None:
    """Refuse a reference of another person.

    Args:
        head: Of the image, where the reference has voxels.
        other: Of the reference, on the same grid.
        reference: Its name.
        name: That of the image.

    Raises:
        MrtransError: they overlap by less than :data:`SAME_HEAD`.
    """
    shared = 2 * (head & other).sum() / max(int(head.sum()) + int(other.sum()), 1)
    if shared < SAME_HEAD:
        raise MrtransError(
            f"'{reference}' is not the head of '{name}': they overlap by {100 * shared:.0f} %. Choose an image of the "
            "same person, registered to it (napari-mrtrans prepare)."
        )
