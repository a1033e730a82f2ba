"""Several models on one volume: how alike each one's mean is to an acquired image, and the table of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..lesion.measure import box_around
from .similarity import psnr, ssim_map

#: The width of SSIM's window.
WINDOW = 11
#: Voxels around the head: beyond, SSIM's windows see black only.
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


def agreement(
    prediction: NDArray[np.floating],
    reference: NDArray[np.floating],
    head: NDArray[np.bool_],
    axis: int,
    slices: Sequence[int],
) -> tuple[float | None, float | None]:
    """SSIM and PSNR over the head within some slices, data range 1; None where they cannot be had.

    SSIM is that of the volume from 11 neighbouring slices on; of fewer, that of each slice, averaged over the head.

    Args:
        prediction: 3-D, [0, 1].
        reference: The same shape and range; NaN where it has no voxels, which do not count.
        head: Where to measure.
        axis: Across the slices.
        slices: Indices along ``axis`` that the prediction has.
    """
    chosen = np.sort(np.asarray(slices, dtype=int))
    p, t, inside = (np.take(np.moveaxis(x, axis, 0), chosen, 0) for x in (prediction, reference, head))
    inside = inside & np.isfinite(t)
    box = box_around(inside, MARGIN)
    if box is None:
        return None, None
    p, t, inside = p[box], np.nan_to_num(t[box]), inside[box]
    if min(p.shape[1:]) < WINDOW:
        alike = None
    elif len(p) >= WINDOW:
        alike = float(ssim_map(p, t)[inside].mean())
    else:
        alike = float(np.concatenate([ssim_map(a, b)[m] for a, b, m in zip(p, t, inside, strict=True)]).mean())
    return alike, psnr(p, t, inside)
