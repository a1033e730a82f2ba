"""Several models on one volume: how alike each one's mean is to an acquired image, and the table of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..lesion.measure import box_around
from ..scan.masked import is_masked, unmarked, unmasked
from .similarity import WINDOW, psnr, ssim_map

#: Voxels around the head: beyond, SSIM's windows, on images or their edges, see black only.
MARGIN = 6


@dataclass
class ModelRow:
    """One model's figures; None where they are unknown.

    Attributes:
        model: As it is called in the comparison.
        checkpoint: Its installed name.
        pair: ``T1->T2``.
        n: Samples for each slice.
        seed: Of the starting noise.
        slices: Finished ones.
        sigma_hat: Mean std over their head voxels.
        p_ood: P(OOD) of the input.
        ssim: See :func:`agreement`.
        psnr: In dB.
        seconds: From the first network call on.
        error: What ended it early, in one line.
        reference: Name of the acquired image that SSIM and PSNR are against.
    """

    model: str
    checkpoint: str
    pair: str
    n: int
    seed: int
    slices: int = 0
    sigma_hat: float | None = None
    p_ood: float | None = None
    ssim: float | None = None
    psnr: float | None = None
    seconds: float | None = None
    error: str = ""
    reference: str = ""


def table(rows: Iterable[ModelRow]) -> str:
    """Comma-separated values with a line of headings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ModelRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


class Agreement(NamedTuple):
    """SSIM, PSNR in dB (None where they cannot be had), and in how many slices there was something to compare."""

    ssim: float | None
    psnr: float | None
    slices: int


def agreement(
    prediction: NDArray[np.floating],
    reference: NDArray[np.floating],
    head: NDArray[np.bool_],
    axis: int,
    slices: Sequence[int],
) -> Agreement:
    """How alike two images are over the head within some slices, data range 1; what lies beside it is black in both.

    SSIM is that of the volume where 11 or more of the slices are neighbours; of fewer, that of each slice. It is
    averaged over the head.

    Args:
        prediction: 3-D, [0, 1].
        reference: The same shape and range; NaN (or masked) where it has no voxels, which do not count.
        head: Where to measure.
        axis: Across the slices.
        slices: Indices along ``axis`` that the prediction has.
    """
    known = unmarked(head) & np.isfinite(unmasked(reference)) & ~is_masked(prediction)
    inside = np.moveaxis(known, axis, 0)
    p, t = (np.where(inside, np.moveaxis(unmasked(image), axis, 0), 0) for image in (prediction, reference))
    chosen = np.unique(np.asarray(slices, dtype=int))
    chosen = chosen[inside[chosen].any(axis=(1, 2))]
    if not chosen.size:
        return Agreement(None, None, 0)
    alike: list[NDArray[np.floating]] = []
    for run in np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1):
        box = box_around(inside[run], MARGIN)
        assert box is not None
        a, b, where = p[run][box], t[run][box], inside[run][box]
        if min(a.shape[1:]) >= WINDOW:
            maps = (
                ssim_map(a, b) if len(a) >= WINDOW else np.stack([ssim_map(*pair) for pair in zip(a, b, strict=True)])
            )
            alike.append(maps[where])
    ssim = float(np.concatenate(alike).mean()) if alike else None
    return Agreement(ssim, psnr(p[chosen], t[chosen], inside[chosen]), len(chosen))
