"""An acquired image of the target contrast beside a result: where the mean errs, and how alike the two are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..metrics.comparison import Agreement, agreement
from ..prepare.reference import normalised_on
from ..prepare.whole_head import fit_for_models
from ..scan.intensity import fill_holes
from ..scan.masks import read_mask
from ..scan.volume import Volume
from .ensemble import Ensemble
from .request import Request, mask_digest


@dataclass(frozen=True, eq=False)
class Acquired:
    """On the grid of the result.

    Attributes:
        name: Of the acquired image.
        image: Normalised, [0, 1], NaN where it has no voxels.
        head: Of both; dark fluid in them may be 0.
        notices: What was assumed.
    """

    name: str
    image: NDArray[np.float32]
    head: NDArray[np.bool_]
    notices: tuple[str, ...] = ()

    def turned(self, turn: Callable[[NDArray], NDArray]) -> Acquired:
        """The same with its voxels in another order."""
        return replace(self, image=turn(self.image), head=turn(self.head))

    def error(self, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Absolute error of a mean inside the head; NaN elsewhere, and where the mean is."""
        return np.where(self.head, np.abs(mean - self.image), np.float32(np.nan)).astype(np.float32)

    def agreement(self, mean: NDArray[np.float32], axis: int, slices: Sequence[int]) -> Agreement:
        """SSIM and PSNR of a mean over the head within some slices (:func:`~..metrics.comparison.agreement`).

        Voxels where the mean is NaN do not count.
        """
        known = self.head & np.isfinite(mean)
        return agreement(np.nan_to_num(mean), np.where(known, self.image, np.float32(0)), known, axis, slices)


def acquired_on(
    reference: Volume,
    source: Volume,
    request: Request,
    to_reference: NDArray[np.float64],
    say: Callable[[str], None] = lambda line: None,
    partial: bool = False,
) -> Acquired:
    """An acquired image of the request's target, in the units and on the grid of what is made of ``source``.

    Args:
        reference: The acquired image.
        source: What is transformed; a whole head is prepared as for the models, at once where it was before.
        request: Target, mask and preparation.
        to_reference: 4x4, voxel index of ``source`` to voxel index of ``reference``.
        say: Told that it was resampled, or prepared.
        partial: ``source`` may be a part of the head only, as what was computed of a slab.

    Raises:
        MrtransError: the two do not overlap, or are not of one head.
    """
    prepared = fit_for_models(source, request.mask, request.prepare, say)
    image, there = normalised_on(
        reference,
        request.target,
        prepared.head,
        to_reference,
        name=prepared.volume.name,
        prepare=request.prepare,
        say=say,
        partial=partial or request.mask is not None,
    )
    return Acquired(reference.name, image, prepared.head & there)


def asked_mask(ensemble: Ensemble, say: Callable[[str], None]) -> NDArray[np.bool_] | None:
    """The brain mask that a saved result was made with, on its voxels; None where there was none.

    For one that is not at hand any more, or has changed, stands where there is an answer; ``say`` is told.
    """
    asked = ensemble.info.get("request", {})
    if not asked.get("mask"):
        return None
    try:
        mask = read_mask(Path(asked["mask_file"]), ensemble.volume) if asked.get("mask_file") else None
    except MrtransError:
        mask = None
    if mask is not None and mask_digest(mask) == asked["mask"]:
        return mask
    say("The brain mask of this result is not at hand any more: where it has an answer was taken for it.")
    return fill_holes(np.nan_to_num(ensemble.mean) > 0)
